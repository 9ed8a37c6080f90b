//! Exceptions made by hand: what may be asked for, the book of them, and the file that keeps it.
//!
//! ```text
//!   Wish ─► Book::put ─► the next generation acts ─► ExceptionFile::save: new file, fsync, rename
//!   start ─► ExceptionFile::load ─► Book; what is over is dropped, a damaged file is set aside
//! ```

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::whole;
use crate::clock;
use crate::dns::name::Name;
use crate::limits;
use crate::policy::exceptions::{Exception, Exceptions, Verdict};

/// The file's name in the state folder.
const FILE: &str = "exceptions.json";
/// The form in which it is written.
const VERSION: u32 = 1;
/// More numbers than can ever be used; JSON readers hold them without loss.
const NUMBERS: u64 = 1 << 52;

/// An exception as an operator asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Let through or block.
    pub verdict: Verdict,
    /// The name in text form; `*` or `.`: all names.
    pub name: String,
    /// The name itself only, nothing below it.
    pub exact: bool,
    /// A prefix or an address of clients; `None`: everybody.
    pub client: Option<String>,
    /// How long it holds, in milliseconds; `None`: for good.
    pub millis: Option<u64>,
    /// Why.
    pub reason: String,
}

/// All exceptions, in the order of their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    /// The next number; counts up, so that none is used twice.
    next: u64,
    list: Vec<Arc<Exception>>,
}

/// What [`Book::put`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The new exception.
    pub made: Arc<Exception>,
    /// The one for the same name and clients that it replaced.
    pub replaced: Option<Arc<Exception>>,
}

impl Default for Book {
    fn default() -> Book {
        Book { next: 1, list: Vec::new() }
    }
}

impl Book {
    /// The exceptions, in the order of their numbers.
    pub fn list(&self) -> &[Arc<Exception>] {
        &self.list
    }

    /// The exceptions in the form that a policy set takes.
    pub fn exceptions(&self) -> Arc<Exceptions> {
        Arc::new(Exceptions::new(self.list.clone()))
    }

    /// Enters a wish. One for the same name, exactness and clients replaces the older. `now` is
    /// wall time in milliseconds since 1970. An error says what is wrong with the wish; then
    /// nothing was changed.
    pub fn put(&mut self, wish: &Wish, owner: &str, now: u64) -> Result<Put, String> {
        let made = wish.exception(self.next, owner, now)?;
        let alike = |e: &Arc<Exception>| {
            e.name == made.name && e.clients == made.clients && e.subtree == made.subtree
        };
        let replaced = self.list.iter().position(alike);
        if replaced.is_none() && self.list.len() >= limits::EXCEPTIONS {
            return Err(format!(
                "there are {} exceptions, and no more are kept; remove some first: culvert \
                 exceptions remove NUMBER",
                self.list.len()
            ));
        }
        let replaced = replaced.map(|at| self.list.remove(at));
        let made = Arc::new(made);
        self.next += 1;
        self.list.push(Arc::clone(&made));
        Ok(Put { made, replaced })
    }

    /// Takes exceptions out by their numbers. An error names the numbers that there are none
    /// of; then nothing was changed.
    pub fn remove(&mut self, ids: &[u64]) -> Result<Vec<Arc<Exception>>, String> {
        let unknown: Vec<String> = ids
            .iter()
            .filter(|id| self.list.iter().all(|exception| exception.id != **id))
            .map(u64::to_string)
            .collect();
        if !unknown.is_empty() {
            return Err(format!(
                "there is no exception {}; nothing was removed; culvert exceptions lists them",
                unknown.join(", ")
            ));
        }
        Ok(self.take(|exception| ids.contains(&exception.id)))
    }

    /// Takes out what is over at this wall time, in milliseconds since 1970.
    pub fn end(&mut self, now: u64) -> Vec<Arc<Exception>> {
        self.take(|exception| exception.until.is_some_and(|until| until <= now))
    }

    fn take(&mut self, wanted: impl Fn(&Exception) -> bool) -> Vec<Arc<Exception>> {
        let (gone, left) = self.list.drain(..).partition(|exception| wanted(exception));
        self.list = left;
        gone
    }
}

impl Wish {
    /// The exception that is wished for, or what is wrong with the wish.
    fn exception(&self, id: u64, owner: &str, now: u64) -> Result<Exception, String> {
        let name = name(&self.name)?;
        let clients = self.client.as_deref().map(prefix).transpose()?;
        if name.is_root() {
            all_names(self, clients)?;
        }
        let length = self.millis.map(|millis| {
            let most = limits::EXCEPTION_LONGEST.as_millis();
            match millis {
                0 => Err("--for 0 is over before it begins; give a longer time".to_owned()),
                _ if u128::from(millis) > most => {
                    Err("--for is longer than ten years; without --for it holds for good".into())
                }
                millis => Ok(millis),
            }
        });
        Ok(Exception {
            id,
            verdict: self.verdict,
            name,
            subtree: !self.exact,
            clients,
            owner: line_of_text("the owner", owner)?,
            reason: reason(&self.reason)?,
            since: now,
            until: length.transpose()?.map(|length| now.saturating_add(length)),
        })
    }
}

/// A wish for all names needs clients, so that nobody switches a network off, or its policy.
fn all_names(wish: &Wish, clients: Option<IpNet>) -> Result<(), String> {
    let everybody = clients.is_none_or(|net| net.prefix_len() == 0);
    if wish.exact {
        return Err("all names are below \".\": leave --exact out".to_owned());
    }
    match wish.verdict {
        Verdict::Allow if everybody => Err("all names for everybody: that is no exception; say \
            for whom with --client, or use culvert policy suspend"
            .to_owned()),
        Verdict::Block if everybody => Err("all names for everybody: that would switch the \
            network off; say for whom with --client"
            .to_owned()),
        _ => Ok(()),
    }
}

/// The name of an exception.
fn name(text: &str) -> Result<Name, String> {
    let written = text.trim();
    if !written.is_ascii() {
        return Err(format!("{text:?} is not ASCII; give its A-label, the form with xn--"));
    }
    if ["*", "."].contains(&written) {
        return Ok(Name::ROOT);
    }
    if written.parse::<IpAddr>().is_ok() || written.parse::<IpNet>().is_ok() {
        return Err(format!(
            "{text:?} is an address; exceptions are for names, and --client says for whom"
        ));
    }
    if written.contains("://") || written.contains(|c: char| c.is_ascii_whitespace()) {
        return Err(format!("{text:?} is not a domain name; give the name alone"));
    }
    if let Some(parent) = written.strip_prefix("*.") {
        return Err(format!(
            "{text:?}: write {parent:?}; an exception holds for everything below its name too, \
             unless it is --exact"
        ));
    }
    written.parse().map_err(|e| format!("{text:?} is not a domain name: {e}"))
}

/// Clients: a prefix without host bits, or one address.
fn prefix(text: &str) -> Result<IpNet, String> {
    let written = text.trim();
    let address = written.parse::<IpAddr>().map(IpNet::from);
    let Ok(net) = address.or_else(|_| written.parse::<IpNet>()) else {
        return Err(format!(
            "--client {text:?} is no prefix; write for example 10.1.0.0/16, or one address"
        ));
    };
    // clients that come to an IPv6 socket over IPv4 are known by their IPv4 addresses
    if let IpNet::V6(v6) = net
        && let (Some(ip), Some(length)) =
            (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96))
    {
        return Err(format!(
            "--client {text:?} is an IPv4 network in IPv6 form, which no client has; write \
             {ip}/{length}"
        ));
    }
    if net != net.trunc() {
        return Err(format!(
            "--client {text:?} has host bits set; write {}, or the address alone for one client",
            net.trunc()
        ));
    }
    Ok(net)
}

/// A reason as it is kept: at most [`limits::EXCEPTION_TEXT`] characters on one line. An error
/// says what is wrong with it.
pub fn reason(text: &str) -> Result<String, String> {
    line_of_text("the reason", text)
}

fn line_of_text(what: &str, text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(format!("{what} is empty; say it in a few words"));
    }
    if text.chars().count() > limits::EXCEPTION_TEXT {
        return Err(format!("{what} is longer than {} characters", limits::EXCEPTION_TEXT));
    }
    if text.chars().any(is_unseen) {
        return Err(format!("{what} has control characters; write one line of plain text"));
    }
    Ok(text.to_owned())
}

/// Characters that change what a terminal shows: controls, line separators, and those that turn
/// the direction of writing (Unicode Standard Annex 9).
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
        || matches!(c, '\u{61c}' | '\u{feff}')
}

/// What an exception does, for whom and until when, for the log.
pub fn in_words(exception: &Exception) -> String {
    let verb = match exception.verdict {
        Verdict::Allow => "allow",
        Verdict::Block => "block",
    };
    let name = match (exception.name.is_root(), exception.subtree) {
        (true, _) => "all names".to_owned(),
        (_, true) => format!("{} and below", exception.name),
        (_, false) => format!("{} exactly", exception.name),
    };
    let clients = exception.clients.map_or_else(|| "everybody".to_owned(), |net| net.to_string());
    let until = exception
        .until
        .map_or_else(|| "for good".to_owned(), |until| format!("until {}", clock::rfc3339(until)));
    let Exception { id, owner, reason, .. } = exception;
    format!("exception {id}, {verb} {name} for {clients} {until}, by {owner}: {reason}")
}

// ── the file ────────────────────────────────────────────────────────────────────────────────

/// The file that keeps the book over a restart.
#[derive(Clone, Debug)]
pub struct ExceptionFile {
    path: PathBuf,
    /// Why it must not be replaced: something is in it that could neither be read nor set aside.
    in_the_way: Option<String>,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    next: u64,
    exceptions: Vec<KeptException>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptException {
    id: u64,
    verdict: Verdict,
    name: String,
    subtree: bool,
    clients: Option<IpNet>,
    owner: String,
    reason: String,
    since: u64,
    until: Option<u64>,
}

impl ExceptionFile {
    /// Reads the book from the state folder. What is over by now is dropped and logged. A
    /// missing file is an empty book; so is a damaged one, which is set aside and logged. Never
    /// fails: a relay without its exceptions is better than none.
    pub fn load(folder: &Path, now: u64) -> (ExceptionFile, Book) {
        let mut file = ExceptionFile { path: folder.join(FILE), in_the_way: None };
        let mut book = match read(&file.path) {
            Ok(Some(text)) => match parse(&text) {
                Ok(book) => book,
                Err(fault) => file.set_aside(&fault, now),
            },
            Ok(None) => Book::default(),
            Err(e) => file.set_aside(&format!("cannot be read: {e}"), now),
        };
        for exception in book.end(now) {
            tracing::info!("ended while the relay was down: {}", in_words(&exception));
        }
        if !book.list.is_empty() {
            tracing::info!("exceptions in force: {}", book.list.len());
        }
        (file, book)
    }

    /// Gives a file that is of no use another name, so that nothing in it is lost.
    fn set_aside(&mut self, fault: &str, now: u64) -> Book {
        let path = self.path.display();
        let stamp: String = clock::rfc3339(now).chars().filter(char::is_ascii_digit).collect();
        let aside = self.path.with_extension(format!("json.damaged-{stamp}"));
        match std::fs::rename(&self.path, &aside) {
            Ok(()) => tracing::error!(
                "{path} {fault}; the relay runs without these exceptions, and the file is now \
                 {aside}; make them anew with culvert allow and culvert block, or mend that file \
                 and put it back before a start",
                aside = aside.display()
            ),
            Err(e) => {
                tracing::error!(
                    "{path} {fault}; it cannot be set aside ({e}), so that new exceptions will \
                     not outlive a restart; move it away and restart the relay"
                );
                self.in_the_way = Some(format!("{path} is damaged and could not be set aside"));
            }
        }
        Book::default()
    }

    /// Writes the book: a new file, on the disk before it takes the old one's place. The error
    /// names the file.
    pub fn save(&self, book: &Book) -> Result<(), String> {
        if let Some(text) = &self.in_the_way {
            return Err(text.clone());
        }
        self.write(book).map_err(|e| format!("{}: {e}", self.path.display()))
    }

    fn write(&self, book: &Book) -> io::Result<()> {
        let kept = book.list.iter().map(|exception| KeptException::of(exception));
        let kept = Kept { version: VERSION, next: book.next, exceptions: kept.collect() };
        let mut text = serde_json::to_vec_pretty(&kept)?;
        text.push(b'\n');
        whole::write(&self.path, |file| file.write_all(&text))
    }
}

/// The file's text; `None` if there is no file.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let kind = match std::fs::metadata(path) {
        Ok(kind) => kind,
        Err(e) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&e.kind()) => {
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    // opening a pipe would wait for its other end
    if !kind.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = Vec::new();
    let most = limits::EXCEPTIONS_FILE;
    if File::open(path)?.take(most + 1).read_to_end(&mut text)? as u64 > most {
        return Err(io::Error::other("it is too large for what it should hold"));
    }
    Ok(Some(text))
}

/// The book in a text, or what is wrong with it.
fn parse(text: &[u8]) -> Result<Book, String> {
    let damaged = |e: serde_json::Error| format!("is damaged: {e}");
    let Versioned { version } = serde_json::from_slice(text).map_err(damaged)?;
    if version != VERSION {
        return Err(format!("is of version {version}; this program reads version {VERSION}"));
    }
    let kept: Kept = serde_json::from_slice(text).map_err(damaged)?;
    if !(1..=NUMBERS).contains(&kept.next) {
        return Err(format!("is damaged: the next number cannot be {}", kept.next));
    }
    if kept.exceptions.len() > limits::EXCEPTIONS {
        return Err(format!("holds more than {} exceptions", limits::EXCEPTIONS));
    }
    let mut list: Vec<Arc<Exception>> = Vec::with_capacity(kept.exceptions.len());
    for entry in kept.exceptions {
        let id = entry.id;
        if list.last().is_some_and(|last| last.id >= id) || id >= kept.next {
            return Err(format!("is damaged: number {id} is out of order"));
        }
        let exception = entry.exception().map_err(|e| format!("is damaged: number {id}: {e}"))?;
        list.push(Arc::new(exception));
    }
    Ok(Book { next: kept.next, list })
}

impl KeptException {
    fn of(exception: &Exception) -> KeptException {
        let Exception { id, verdict, subtree, clients, since, until, .. } = *exception;
        let name = exception.name.to_string();
        let (owner, reason) = (exception.owner.clone(), exception.reason.clone());
        KeptException { id, verdict, name, subtree, clients, owner, reason, since, until }
    }

    fn exception(self) -> Result<Exception, String> {
        let KeptException { id, verdict, name, subtree, clients, owner, reason, since, until } =
            self;
        if clients.is_some_and(|net| net != net.trunc()) {
            return Err("the clients have host bits set".to_owned());
        }
        let name = name.parse().map_err(|e| format!("{name:?} is not a domain name: {e}"))?;
        let owner = line_of_text("the owner", &owner)?;
        let reason = line_of_text("the reason", &reason)?;
        Ok(Exception { id, verdict, name, subtree, clients, owner, reason, since, until })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn wish(verdict: Verdict, name: &str) -> Wish {
        let name = name.to_owned();
        Wish { verdict, name, exact: false, client: None, millis: None, reason: "ticket 7".into() }
    }

    fn for_clients(verdict: Verdict, name: &str, client: &str) -> Wish {
        Wish { client: Some(client.to_owned()), ..wish(verdict, name) }
    }

    fn refused(wish: Wish) -> String {
        let mut book = Book::default();
        let fault = book.put(&wish, "root", NOW).unwrap_err();
        assert_eq!(book, Book::default(), "a refused wish changes nothing");
        fault
    }

    #[test]
    fn numbers_count_up_and_one_of_the_same_scope_replaces() {
        use Verdict::{Allow, Block};
        let mut book = Book::default();
        let mut put = |wish: Wish| {
            let put = book.put(&wish, "root", NOW).unwrap();
            (put.made.id, put.replaced.map(|e| e.id))
        };
        assert_eq!(put(wish(Allow, "Example.COM.")), (1, None));
        assert_eq!(put(for_clients(Allow, "example.com", "10.1.0.0/16")), (2, None));
        assert_eq!(put(Wish { exact: true, ..wish(Allow, "example.com") }), (3, None));
        assert_eq!(put(wish(Block, "example.com")), (4, Some(1)), "whatever it did");
        assert_eq!(put(for_clients(Block, "*", "2001:db8::1")), (5, None));
        let ids = |book: &Book| book.list().iter().map(|e| e.id).collect::<Vec<_>>();
        assert_eq!(ids(&book), [2, 3, 4, 5]);
        let fault = book.remove(&[3, 9, 1]).unwrap_err();
        assert!(fault.contains("no exception 9, 1;"), "{fault}");
        assert_eq!(ids(&book), [2, 3, 4, 5]);
        assert_eq!(book.remove(&[5, 3]).unwrap().len(), 2);
        assert_eq!(ids(&book), [2, 4]);
        assert_eq!(book.put(&wish(Allow, "a"), "root", NOW).unwrap().made.id, 6, "never again");
    }

    #[test]
    fn wishes_that_cannot_be_meant_are_refused_with_the_cure() {
        use Verdict::{Allow, Block};
        let long = "x".repeat(201);
        let with_reason = |reason: &str| Wish { reason: reason.into(), ..wish(Allow, "a") };
        for (wish, part) in [
            (wish(Allow, "bücher.example"), "A-label"),
            (wish(Allow, "*.example.com"), "write \"example.com\""),
            (wish(Allow, "192.0.2.1"), "exceptions are for names"),
            (wish(Allow, "https://example.com/"), "the name alone"),
            (wish(Allow, "a..b"), "empty label"),
            (wish(Allow, ""), "not a domain name"),
            (wish(Allow, "."), "policy suspend"),
            (wish(Block, "*"), "--client"),
            (for_clients(Block, ".", "0.0.0.0/0"), "--client"),
            (Wish { exact: true, ..for_clients(Allow, "*", "10.0.0.1") }, "--exact"),
            (for_clients(Allow, "a", "10.1.2.3/8"), "write 10.0.0.0/8"),
            (for_clients(Allow, "a", "::ffff:10.1.2.3"), "write 10.1.2.3/32"),
            (for_clients(Allow, "a", "lan"), "no prefix"),
            (Wish { millis: Some(0), ..wish(Allow, "a") }, "longer time"),
            (Wish { millis: Some(u64::MAX), ..wish(Allow, "a") }, "ten years"),
            (with_reason(" "), "empty"),
            (with_reason(&long), "longer than 200 characters"),
            (with_reason("a\u{1b}[2Jb"), "control"),
            (with_reason("a\u{202e}b"), "control"),
            (with_reason("a\u{61c}b"), "control"),
        ] {
            let fault = refused(wish.clone());
            assert!(fault.contains(part), "{wish:?}: {fault}");
        }
        let most = with_reason(&"ü".repeat(200));
        assert!(Book::default().put(&most, "root", NOW).is_ok(), "characters, not octets");
    }

    #[test]
    fn no_more_than_the_limit_and_replacing_goes_on() {
        let mut book = Book::default();
        for n in 0..limits::EXCEPTIONS {
            book.put(&wish(Verdict::Allow, &format!("n{n}.example")), "root", NOW).unwrap();
        }
        let fault = book.put(&wish(Verdict::Allow, "more.example"), "root", NOW).unwrap_err();
        assert!(fault.contains("remove some first"), "{fault}");
        assert!(book.put(&wish(Verdict::Block, "n7.example"), "root", NOW).is_ok());
        assert_eq!(book.list().len(), limits::EXCEPTIONS);
    }

    #[test]
    fn a_book_comes_back_less_what_is_over() {
        let home = tempfile::tempdir().unwrap();
        // the last part of the path is made, as a package may not have done it
        let folder = home.path().join("state");
        let (file, mut book) = ExceptionFile::load(&folder, NOW);
        assert_eq!(book, Book::default());
        for (name, millis) in [("a\\032b.example", None), ("b", Some(1000)), ("c", Some(9000))] {
            let wish = Wish { millis, ..for_clients(Verdict::Allow, name, "10.1.0.0/16") };
            book.put(&wish, "root (sudo by anna)", NOW).unwrap();
        }
        book.remove(&[3]).unwrap();
        file.save(&book).unwrap();
        let path = folder.join("exceptions.json");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing is left over");
        assert_eq!(ExceptionFile::load(&folder, NOW + 999).1, book);
        let (_, mut later) = ExceptionFile::load(&folder, NOW + 1000);
        assert_eq!(later.list(), &book.list()[..1]);
        let put = later.put(&wish(Verdict::Block, "d"), "root", NOW).unwrap();
        assert_eq!(put.made.id, 4, "also numbers that are gone are not used again");
    }

    #[test]
    fn damaged_files_are_set_aside_with_all_that_is_in_them() {
        let entry = "{\"id\":1,\"verdict\":\"allow\",\"name\":\"a\",\"subtree\":true,\
                     \"clients\":null,\"owner\":\"root\",\"reason\":\"r\",\"since\":0,\
                     \"until\":null}";
        let file = |version: u32, next: u64, entries: &[&str]| {
            let entries = entries.join(",");
            format!("{{\"version\":{version},\"next\":{next},\"exceptions\":[{entries}]}}")
        };
        assert_eq!(parse(file(1, 2, &[entry]).as_bytes()).unwrap().list().len(), 1);
        let texts = [
            String::new(),
            "{\"version\":1".to_owned(),
            file(2, 2, &[]),
            file(1, 1, &[entry]),
            file(1, 0, &[]),
            file(1, 9, &[entry, entry]),
            file(1, 2, &[&entry.replace("\"until\"", "\"untill\"")]),
            file(1, 2, &[&entry.replace("\"a\"", "\"a..b\"")]),
            file(1, 2, &[&entry.replace("\"r\"", "\"\\u001b\"")]),
            file(1, 2, &[&entry.replace("null,\"owner", "\"10.1.2.3/8\",\"owner")]),
        ];
        for text in texts {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join("exceptions.json");
            std::fs::write(&path, &text).unwrap();
            let (file, book) = ExceptionFile::load(home.path(), NOW);
            assert_eq!(book, Book::default(), "{text}");
            file.save(&book).unwrap();
            let aside = home.path().join("exceptions.json.damaged-20270115080000000");
            assert_eq!(std::fs::read_to_string(aside).unwrap(), text);
        }
    }

    #[test]
    fn what_is_no_file_and_what_cannot_be_written_is_told() {
        let home = tempfile::tempdir().unwrap();
        let taken = home.path().join("taken");
        std::fs::write(&taken, "").unwrap();
        let (file, book) = ExceptionFile::load(&taken, NOW);
        let fault = file.save(&book).unwrap_err();
        assert!(fault.contains("taken/exceptions.json: "), "{fault}");
        // a folder in its place goes aside as well
        std::fs::create_dir(home.path().join("exceptions.json")).unwrap();
        let (file, book) = ExceptionFile::load(home.path(), NOW);
        file.save(&book).unwrap();
        assert_eq!(ExceptionFile::load(home.path(), NOW).1, book);
    }

    #[test]
    fn words_for_the_log() {
        let mut book = Book::default();
        let wish = Wish { millis: Some(60_000), ..for_clients(Verdict::Block, ".", "10.0.0.1") };
        let made = book.put(&wish, "anna", NOW).unwrap().made;
        assert_eq!(
            in_words(&made),
            "exception 1, block all names for 10.0.0.1/32 until 2027-01-15T08:01:00.000Z, by \
             anna: ticket 7"
        );
    }
}
