//! The streaming reader of zone files (RFC 1035 section 5): one line in memory at a time.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::dns::name::Name;
use crate::rpz::entry::{Entry, Token};
use crate::rpz::fast_line::{self, FastLine};
use crate::rpz::intake::Refusal;
use crate::rpz::lines::{Room, Text};
use crate::rpz::list::Guess;
use crate::rpz::name_text::{NameBuf, printable};
use crate::rpz::owner::Reason;
use crate::rpz::rdata::{TypeUse, rtype, use_of};
use crate::rpz::rdata_text;
use crate::rpz::sink::Sink;
use crate::rpz::{Limits, ZoneError};

/// TTL of a record when neither it, nor `$TTL`, nor any record before says one; in seconds.
const DEFAULT_TTL: u32 = 3_600;
/// Class IN (RFC 1035 section 3.2.4).
const CLASS_IN: u16 = 1;

/// Reads the records of a zone file, and of those that it includes, into `sink`.
pub(super) fn scan<S: Sink>(
    text: Text<'_>,
    origin: &Name,
    limits: &Limits,
    sink: S,
) -> Result<S, ZoneError> {
    let mut reader = Reader::new(Frame::new(text, *origin), *origin, limits, sink);
    match reader.run() {
        Ok(()) => Ok(reader.sink),
        Err(fault) => Err(reader.or_a_list(fault)),
    }
}

/// One file being read: the zone's own, or one that is included.
struct Frame<'a> {
    text: Text<'a>,
    /// The current `$ORIGIN`.
    origin: Name,
    /// The last owner of the file that includes this one.
    owner_outside: (NameBuf, LastOwner),
}

impl<'a> Frame<'a> {
    fn new(text: Text<'a>, origin: Name) -> Frame<'a> {
        Frame { text, origin, owner_outside: (NameBuf::new(), LastOwner::None) }
    }
}

/// What an entry without owner refers to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LastOwner {
    /// No entry had an owner yet.
    None,
    /// The owner buffer holds it.
    Good,
    /// The last one could not be read; taking an earlier one would invent a rule.
    Bad,
}

struct Reader<'a, S> {
    limits: &'a Limits,
    zone: Name,
    /// The files, each included by the one before; never empty.
    frames: Vec<Frame<'a>>,
    sink: S,
    /// What the first lines look like.
    guess: Guess,
    /// The line at hand, without its line end.
    line: Vec<u8>,
    entry: Entry,
    owner: NameBuf,
    last_owner: LastOwner,
    rdata: NameBuf,
    default_ttl: Option<u32>,
    last_ttl: Option<u32>,
    room: Room,
}

impl<'a, S: Sink> Reader<'a, S> {
    fn new(frame: Frame<'a>, zone: Name, limits: &'a Limits, sink: S) -> Reader<'a, S> {
        Reader {
            limits,
            zone,
            frames: vec![frame],
            sink,
            guess: Guess::default(),
            line: Vec::new(),
            entry: Entry::default(),
            owner: NameBuf::new(),
            last_owner: LastOwner::None,
            rdata: NameBuf::new(),
            default_ttl: None,
            last_ttl: None,
            room: Room::new(limits),
        }
    }

    fn run(&mut self) -> Result<(), ZoneError> {
        while !self.sink.is_done() {
            if !self.next_line()? {
                if self.frames.len() == 1 {
                    break;
                }
                self.leave_include();
                continue;
            }
            self.guess.look_at(&self.line);
            let frame = top(&mut self.frames);
            self.sink.begin(frame.text.number, &self.line);
            let origin = frame.origin.as_wire();
            match fast_line::read(&self.line, origin, &mut self.owner, &mut self.rdata) {
                Some(fast) => self.fast_record(fast)?,
                None => self.odd_line()?,
            }
        }
        let reason = if self.room.used == 0 {
            "the file is empty"
        } else if self.is_a_list() {
            "there is no SOA record"
        } else {
            return Ok(());
        };
        let file = top(&mut self.frames).text.path.clone();
        Err(ZoneError { file, line: None, reason: reason.into() })
    }

    fn is_a_list(&self) -> bool {
        self.guess.list().is_some() && !self.sink.has_soa()
    }

    /// A list of names that was taken for a zone file fails in some way or other: says so.
    fn or_a_list(&self, mut fault: ZoneError) -> ZoneError {
        if let Some((what, key)) = self.guess.list().filter(|_| self.is_a_list()) {
            let cure = format!("; this looks like {what}, not like a zone file: set {key} for it");
            fault.reason.push_str(&cure);
        }
        fault
    }

    /// Reads the next line of the file at hand into `self.line`; false at the file's end.
    fn next_line(&mut self) -> Result<bool, ZoneError> {
        top(&mut self.frames).text.next(&mut self.line, &mut self.room)
    }

    #[inline]
    fn fast_record(&mut self, fast: FastLine) -> Result<(), ZoneError> {
        self.last_owner = LastOwner::Good;
        let ttl = self.ttl(fast.ttl);
        let taken = self.sink.record(self.owner.wire(), fast.rtype, ttl, self.rdata.wire());
        taken.map_err(|refusal| self.refused(&refusal))
    }

    /// The line is no ordinary one: gathers the entry it begins, and reads that.
    fn odd_line(&mut self) -> Result<(), ZoneError> {
        let mut entry = std::mem::take(&mut self.entry);
        let result = self.gather(&mut entry).and_then(|()| {
            match entry.token(0) {
                None => self.only_a_fault(&entry),
                Some(first) if !entry.no_owner && !first.quoted && first.text[0] == b'$' => {
                    return self.directive(&entry, first.text);
                }
                Some(_) => return self.record(&entry),
            }
            Ok(())
        });
        self.entry = entry;
        result
    }

    /// Collects the lines of an entry, of which the first is at hand.
    fn gather(&mut self, entry: &mut Entry) -> Result<(), ZoneError> {
        let first = top(&mut self.frames).text.number;
        self.no_nul()?;
        entry.begin(&self.line, first);
        while entry.is_open() {
            let never = "a parenthesis that is open in the entry beginning here is never closed";
            if !self.next_line()? {
                return Err(self.fail_at(first, never.into()));
            }
            self.no_nul()?;
            self.sink.go_on(&self.line);
            entry.feed(&self.line);
            if entry.len() > self.limits.max_entry {
                let max = self.limits.max_entry;
                let reason = format!("the entry is longer than {max} octets; is {never}?");
                return Err(self.fail_at(first, reason));
            }
        }
        if entry.open_quote && top(&mut self.frames).text.is_at_end() {
            return Err(self.fail("the file ends inside a quote; is it cut short?".into()));
        }
        Ok(())
    }

    fn no_nul(&self) -> Result<(), ZoneError> {
        if self.line.contains(&0) {
            return Err(self.fail("a NUL octet: this is no text file".into()));
        }
        Ok(())
    }

    /// An entry without tokens is a blank line or a comment, unless its form is wrong.
    fn only_a_fault(&mut self, entry: &Entry) {
        if let Some(fault) = entry.fault {
            self.sink.skip(String::new(), fault.into());
        }
    }

    /// An entry that is a record, as far as one can tell.
    fn record(&mut self, entry: &Entry) -> Result<(), ZoneError> {
        let mut at = 0;
        if let Some(first) = entry.token(0).filter(|_| !entry.no_owner) {
            at = 1;
            self.last_owner = LastOwner::Bad;
            if let Err(reason) = self.read_owner(first) {
                self.sink.skip(printable(first.text), reason);
                return Ok(());
            }
            self.last_owner = LastOwner::Good;
        }
        match self.last_owner {
            LastOwner::Good => {}
            LastOwner::None => {
                self.sink.skip(String::new(), "no record before has an owner name".into());
                return Ok(());
            }
            LastOwner::Bad => {
                let reason = "the owner name is that of a record that could not be read";
                self.sink.skip(String::new(), reason.into());
                return Ok(());
            }
        }
        match entry.fault.map_or_else(|| header(entry, at), |fault| Err(fault.into())) {
            Ok(header) => self.data(entry, &header),
            Err(reason) => {
                self.sink.skip_owner(self.owner.wire(), reason);
                Ok(())
            }
        }
    }

    fn read_owner(&mut self, token: Token<'_>) -> Result<(), Reason> {
        if token.quoted {
            return Err("an owner name cannot be quoted".into());
        }
        let origin = top(&mut self.frames).origin;
        self.owner.read(token.text, origin.as_wire()).map_err(|err| err.to_string())?;
        self.owner.fold();
        Ok(())
    }

    /// The rest of a record whose owner, TTL, class and type are known.
    fn data(&mut self, entry: &Entry, header: &Header) -> Result<(), ZoneError> {
        if header.class.is_some_and(|class| class != CLASS_IN) {
            let reason = "not of class IN; policy knows no other";
            self.sink.skip_owner(self.owner.wire(), reason.into());
            return Ok(());
        }
        let origin = top(&mut self.frames).origin;
        let wire = match use_of(header.rtype) {
            TypeUse::Rule | TypeUse::Soa => {
                rdata_text::to_wire(entry, header.type_at, header.rtype, &origin)
            }
            // no rule whatever the data says
            TypeUse::Unused | TypeUse::Ns | TypeUse::No(_) => Ok(Vec::new()),
        };
        let wire = match wire {
            Ok(wire) => wire,
            Err(reason) if self.is_first_soa(header) => {
                return Err(self.fail_at(entry.line, format!("the zone's SOA: {reason}")));
            }
            Err(reason) => {
                self.sink.skip_owner(self.owner.wire(), reason);
                return Ok(());
            }
        };
        if header.rtype == rtype::SOA && header.ttl.or(self.default_ttl).is_none() {
            // the minimum is the default TTL of a file that states none (RFC 1035 section 5)
            let minimum = wire.last_chunk().map(|last| u32::from_be_bytes(*last));
            self.default_ttl = self.last_ttl.or(minimum);
        }
        let ttl = self.ttl(header.ttl);
        let taken = self.sink.record(self.owner.wire(), header.rtype, ttl, &wire);
        taken.map_err(|refusal| self.refused(&refusal))
    }

    fn is_first_soa(&self, header: &Header) -> bool {
        let apex = self.owner.wire() == self.zone.as_wire();
        header.rtype == rtype::SOA && apex && !self.sink.has_soa()
    }

    /// The TTL of a record, which may state one.
    fn ttl(&mut self, stated: Option<u32>) -> u32 {
        if stated.is_some() {
            self.last_ttl = stated;
        }
        stated.or(self.default_ttl).or(self.last_ttl).unwrap_or(DEFAULT_TTL)
    }

    /// `$ORIGIN`, `$TTL`, `$INCLUDE`; others are skipped.
    fn directive(&mut self, entry: &Entry, name: &[u8]) -> Result<(), ZoneError> {
        let argument = entry.token(1).map_or(&b""[..], |token| token.text);
        let reason: Reason = if name.eq_ignore_ascii_case(b"$ORIGIN") {
            return self.origin(entry, argument);
        } else if name.eq_ignore_ascii_case(b"$INCLUDE") {
            return self.include(entry, argument);
        } else if name.eq_ignore_ascii_case(b"$TTL") {
            match (rdata_text::seconds(argument), entry.fault) {
                (Some(ttl), None) if entry.count() == 2 => {
                    self.default_ttl = Some(ttl);
                    return Ok(());
                }
                _ => "$TTL takes one number of seconds".into(),
            }
        } else if name.eq_ignore_ascii_case(b"$GENERATE") {
            "$GENERATE is not supported; write the records out, or use a wildcard".into()
        } else {
            "unknown directive".into()
        };
        self.sink.skip(printable(name), reason);
        Ok(())
    }

    /// A wrong `$ORIGIN` would give every name behind it another meaning: it costs the file.
    fn origin(&mut self, entry: &Entry, text: &[u8]) -> Result<(), ZoneError> {
        if entry.count() != 2 || entry.fault.is_some() {
            return Err(self.fail_at(entry.line, "$ORIGIN takes one name".into()));
        }
        let origin = self.name(entry, text)?;
        top(&mut self.frames).origin = origin;
        Ok(())
    }

    /// The name that a directive takes, relative to the current origin.
    fn name(&self, entry: &Entry, text: &[u8]) -> Result<Name, ZoneError> {
        let current = self.frames.last().map_or(Name::ROOT, |frame| frame.origin);
        let mut name = NameBuf::new();
        let read = name.read(text, current.as_wire());
        read.and_then(|()| Name::from_wire(name.wire()))
            .map_err(|err| self.fail_at(entry.line, format!("{}: {err}", printable(text))))
    }

    /// Goes on with another file, which may be given an origin of its own.
    fn include(&mut self, entry: &Entry, path: &[u8]) -> Result<(), ZoneError> {
        let fail = |reader: &Self, reason| Err(reader.fail_at(entry.line, reason));
        if self.frames.iter().any(|frame| frame.text.real.is_none()) {
            let reason = "$INCLUDE works only in a zone that is loaded from a file";
            return fail(self, reason.into());
        }
        if !(2..=3).contains(&entry.count()) || entry.fault.is_some() {
            return fail(self, "$INCLUDE takes a file name, and perhaps an origin".into());
        }
        if self.frames.len() > self.limits.max_include_depth {
            let max = self.limits.max_include_depth;
            return fail(self, format!("$INCLUDE is nested deeper than {max}"));
        }
        let origin = match entry.token(2) {
            Some(token) => self.name(entry, token.text)?,
            None => top(&mut self.frames).origin,
        };
        let path = match self.included_path(path) {
            Ok(path) => path,
            Err(reason) => return fail(self, reason),
        };
        let text = match Text::open(&path) {
            Ok(text) => text,
            Err(reason) => return fail(self, format!("$INCLUDE {}: {reason}", path.display())),
        };
        if self.frames.iter().any(|frame| frame.text.real == text.real) {
            let name = path.display();
            return fail(self, format!("$INCLUDE loop: {name} is being read already"));
        }
        self.sink.at_file(Some(Arc::from(path.display().to_string())));
        let mut frame = Frame::new(text, origin);
        frame.owner_outside = (self.owner.clone(), self.last_owner);
        self.frames.push(frame);
        Ok(())
    }

    /// Relative to the folder of the file that includes it. A zone is often somebody else's
    /// text, so it may read only in the folder of the zone's own file, and below.
    fn included_path(&self, text: &[u8]) -> Result<PathBuf, String> {
        let folder = |frame: Option<&Frame<'_>>| {
            frame.and_then(|frame| frame.text.path.parent()).unwrap_or(Path::new("")).to_owned()
        };
        let text = str::from_utf8(text).ok().filter(|text| !text.contains(char::is_control));
        let text = text.ok_or("$INCLUDE: the file name is no printable UTF-8")?;
        let path = folder(self.frames.last()).join(text);
        let full = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let home = folder(self.frames.first()).join(".");
        let climbs = Path::new(text).components().any(|part| part == Component::ParentDir);
        if climbs || !full(&path).starts_with(full(&home)) {
            return Err(format!(
                "$INCLUDE {}: only files in the zone file's own folder can be included; \
                 put a copy there",
                text.escape_debug()
            ));
        }
        Ok(path)
    }

    /// The file at hand is at its end: back to the one that includes it.
    fn leave_include(&mut self) {
        if let Some(frame) = self.frames.pop() {
            (self.owner, self.last_owner) = frame.owner_outside;
        }
        let is_included = self.frames.len() > 1;
        let path = &top(&mut self.frames).text.path;
        let name = is_included.then(|| Arc::from(path.display().to_string()));
        self.sink.at_file(name);
    }

    fn refused(&self, refusal: &Refusal) -> ZoneError {
        self.fail(refusal.to_string())
    }

    /// The file is no good because of the line at hand.
    fn fail(&self, reason: String) -> ZoneError {
        let line = self.frames.last().map_or(0, |frame| frame.text.number);
        self.fail_at(line, reason)
    }

    fn fail_at(&self, line: u32, reason: String) -> ZoneError {
        let file = self.frames.last().map(|frame| frame.text.path.clone()).unwrap_or_default();
        ZoneError { file, line: Some(line), reason }
    }
}

/// The file being read.
fn top<'f, 'a>(frames: &'f mut [Frame<'a>]) -> &'f mut Frame<'a> {
    frames.last_mut().expect("the zone's own file stays until the end")
}

/// TTL, class and type of a record.
struct Header {
    ttl: Option<u32>,
    class: Option<u16>,
    rtype: u16,
    /// Which token is the type.
    type_at: usize,
}

/// Reads `[TTL] [class] type` or `[class] [TTL] type` from token `at` on.
fn header(entry: &Entry, mut at: usize) -> Result<Header, Reason> {
    let (mut ttl, mut class) = (None, None);
    loop {
        let Some(token) = entry.token(at).filter(|token| !token.quoted) else {
            return Err("the record has no type".into());
        };
        if token.text.first().is_some_and(u8::is_ascii_digit) && ttl.is_none() {
            let value = rdata_text::seconds(token.text);
            ttl = Some(value.ok_or("the TTL is no number of seconds")?);
        } else if let (None, Some(found)) = (class, rdata_text::class(token.text)) {
            class = Some(found);
        } else if let Some(rtype) = rdata_text::record_type(token.text) {
            return Ok(Header { ttl, class, rtype, type_at: at });
        } else {
            return Err(format!("unknown record type {}", printable(token.text)).into());
        }
        at += 1;
    }
}
