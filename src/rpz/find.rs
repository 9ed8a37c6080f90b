//! Where a rule stands: the records of one trigger, as they are written.
//!
//! The text is read once more by the reader that made the rules; only what becomes of its
//! records is another thing. So origins, inherited owners, included files and lists mean here
//! what they mean there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use crate::dns::name::Name;
use crate::limits;
use crate::policy::trigger::TriggerKind;
use crate::rpz::intake::{Refusal, write_key};
use crate::rpz::owner::{self, Trigger};
use crate::rpz::rdata::{self, Meaning, TypeUse, rtype};
use crate::rpz::sink::Sink;
use crate::rpz::{Form, Limits, ZoneError, open, scan};

/// Text of an entry that is kept, blanks and all, until it is known to be wanted.
const RAW_TEXT: usize = 8 << 10;

/// The trigger of a rule that is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant)] // few of them at a time, and most are names
pub enum Wanted {
    /// A QNAME or NSDNAME rule: its name relative to the zone, a leading `*` label kept, without
    /// the `rpz-nsdname` suffix.
    Name(TriggerKind, Name),
    /// A rule on addresses; host bits do not count.
    Prefix(TriggerKind, IpNet),
}

impl Wanted {
    fn key(&self) -> Vec<u8> {
        let mut key = Vec::new();
        match self {
            Wanted::Name(kind, name) => {
                let wire = name.as_wire();
                write_key(&Trigger::Name(*kind, &wire[..wire.len() - 1]), &mut key);
            }
            Wanted::Prefix(kind, net) => {
                write_key(&Trigger::Prefix(*kind, net.trunc()), &mut key);
            }
        }
        key
    }
}

/// A record of a rule, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Written {
    /// The zone's own file, or one that it includes.
    pub file: PathBuf,
    /// The line on which the record begins, from 1.
    pub line: u32,
    /// Its line or lines: blanks squeezed, printable ASCII only (other octets as `\DDD`), at
    /// most [`limits::WRITTEN_TEXT`] characters.
    pub text: String,
}

/// Reads a zone's text again, and gives the records at one trigger in their order, at most
/// [`limits::WRITTEN_RECORDS`]. The first says what the rule does; later ones add data to it or
/// are void. Errors are those of [`load`](crate::rpz::load), as far as they concern the text.
/// Blocks.
pub fn find_rule(
    path: &Path,
    origin: &Name,
    form: Form,
    limits: &Limits,
    want: &Wanted,
) -> Result<Vec<Written>, ZoneError> {
    let mut found = find_rules(path, origin, form, limits, std::slice::from_ref(want))?;
    Ok(found.pop().unwrap_or_default())
}

/// The same for many triggers in one pass; one answer for each, in their order.
pub fn find_rules(
    path: &Path,
    origin: &Name,
    form: Form,
    limits: &Limits,
    wanted: &[Wanted],
) -> Result<Vec<Vec<Written>>, ZoneError> {
    let keys: Vec<Vec<u8>> = wanted.iter().map(Wanted::key).collect();
    let finder = Finder::new(path, *origin, &keys);
    let places = scan(open(path)?, origin, form, limits, finder)?.places;
    let at = |key: &Vec<u8>| places.get(key).cloned().unwrap_or_default();
    Ok(keys.iter().map(at).collect())
}

/// The zone's name as the SOA of a zone file gives it; `None` if there is no SOA, or if the
/// file leaves the name to the configuration (`@` without `$ORIGIN`). Blocks.
pub fn zone_name(path: &Path, limits: &Limits) -> Result<Option<Name>, ZoneError> {
    // below the root, `@` is the root
    let sink = scan(open(path)?, &Name::ROOT, Form::Zone, limits, FirstSoa(None))?;
    Ok(sink.0.filter(|name| !name.is_root()))
}

/// Notes the places of the records at the wanted triggers.
struct Finder {
    zone_file: PathBuf,
    origin: Name,
    places: HashMap<Vec<u8>, Vec<Written>>,
    file: Option<Arc<str>>,
    line: u32,
    text: Vec<u8>,
    key: Vec<u8>,
    has_soa: bool,
}

impl Finder {
    fn new(path: &Path, origin: Name, keys: &[Vec<u8>]) -> Finder {
        Finder {
            zone_file: path.to_owned(),
            origin,
            places: keys.iter().map(|key| (key.clone(), Vec::new())).collect(),
            file: None,
            line: 0,
            text: Vec::new(),
            key: Vec::new(),
            has_soa: false,
        }
    }

    fn keep(&mut self, text: &[u8]) {
        let room = RAW_TEXT - self.text.len();
        self.text.extend_from_slice(&text[..text.len().min(room)]);
    }
}

impl Sink for Finder {
    fn begin(&mut self, line: u32, text: &[u8]) {
        self.line = line;
        self.text.clear();
        self.keep(text);
    }

    fn go_on(&mut self, text: &[u8]) {
        self.keep(b" ");
        self.keep(text);
    }

    fn at_file(&mut self, file: Option<Arc<str>>) {
        self.file = file;
    }

    fn record(&mut self, owner: &[u8], rtype: u16, _: u32, rdata: &[u8]) -> Result<(), Refusal> {
        let Some(relative) = owner::relative(owner, self.origin.as_wire()) else { return Ok(()) };
        let usage = rdata::use_of(rtype);
        self.has_soa |= usage == TypeUse::Soa && relative.labels.is_empty();
        if usage != TypeUse::Rule || relative.labels.is_empty() {
            return Ok(());
        }
        let Ok(owner) = owner::read(relative) else { return Ok(()) };
        write_key(&owner.trigger, &mut self.key);
        let Some(places) = self.places.get_mut(&self.key) else { return Ok(()) };
        if rtype == rtype::CNAME
            && matches!(rdata::cname(rdata, owner.written), Meaning::Reserved(_))
        {
            return Ok(());
        }
        let file = self.file.as_ref().map_or_else(|| self.zone_file.clone(), |f| f.as_ref().into());
        let written = Written { file, line: self.line, text: squeezed(&self.text) };
        // a name may stand twice on a line of a hosts file
        if places.last() != Some(&written) && places.len() < limits::WRITTEN_RECORDS {
            places.push(written);
        }
        Ok(())
    }

    fn has_soa(&self) -> bool {
        self.has_soa
    }
}

/// Stops at the first SOA, wherever it stands.
struct FirstSoa(Option<Name>);

impl Sink for FirstSoa {
    fn begin(&mut self, _line: u32, _text: &[u8]) {}

    fn at_file(&mut self, _file: Option<Arc<str>>) {}

    fn record(&mut self, owner: &[u8], rtype: u16, _: u32, _: &[u8]) -> Result<(), Refusal> {
        if rtype == rtype::SOA && self.0.is_none() {
            self.0 = Name::from_wire(owner).ok();
        }
        Ok(())
    }

    fn has_soa(&self) -> bool {
        self.0.is_some()
    }

    fn is_done(&self) -> bool {
        self.0.is_some()
    }
}

/// Text as one line that is fit for a terminal.
fn squeezed(text: &[u8]) -> String {
    let words = text.split(|octet| octet.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let mut out = String::new();
    for word in words {
        if !out.is_empty() {
            out.push(' ');
        }
        for &octet in word {
            match octet {
                b'!'..=b'~' => out.push(char::from(octet)),
                _ => out.push_str(&format!("\\{octet:03}")),
            }
        }
        if out.len() > limits::WRITTEN_TEXT {
            out.truncate(limits::WRITTEN_TEXT - 3);
            out.push_str("...");
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Wanted {
        Wanted::Name(TriggerKind::Qname, text.parse().unwrap())
    }

    fn net(kind: TriggerKind, text: &str) -> Wanted {
        Wanted::Prefix(kind, text.parse().unwrap())
    }

    /// A folder with these files; asks for rules in the first one.
    fn ask(files: &[(&str, &str)], form: Form, wanted: &[Wanted]) -> Vec<Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let path = dir.path().join(files[0].0);
        let zone: Name = "rpz.test".parse().unwrap();
        let found = find_rules(&path, &zone, form, &Limits::default(), wanted).unwrap();
        let one = find_rule(&path, &zone, form, &Limits::default(), &wanted[0]).unwrap();
        assert_eq!(one, found[0]);
        let text = |at: &Written| {
            let file = at.file.strip_prefix(dir.path()).unwrap().display();
            format!("{file}:{}: {}", at.line, at.text)
        };
        found.iter().map(|places| places.iter().map(text).collect()).collect()
    }

    #[test]
    fn records_of_a_zone_file() {
        let main = "$TTL 60\n@ SOA . . 1 1 1 1 1\nBad.Example   CNAME\t. ; b\u{fc}\n\
                    *.bad.example CNAME (\n ; dots\n   . )\n$ORIGIN example.rpz.test.\n\
                    bad CNAME *.\nlocal A 192.0.2.1\n  A 192.0.2.2\n local2 CNAME .\n\
                    $INCLUDE part\n  A 192.0.2.3\n\
                    24.0.2.0.192.rpz-ip.rpz.test. CNAME .\n24.0.2.0.192.rpz-ip CNAME .\n\
                    ns.rpz-nsdname.rpz.test. A 192.0.2.1\nbad CNAME rpz-foo.\nbad DNAME x.\n";
        let part = "$ORIGIN rpz.test.\nlocal.EXAMPLE A 192.0.2.4\n8.0.0.0.10.rpz-nsip CNAME .\n";
        let nsdname = Wanted::Name(TriggerKind::Nsdname, "ns".parse().unwrap());
        let wanted = [
            name("bad.example"),
            name("*.bad.example"),
            name("local.example"),
            net(TriggerKind::Ip, "192.0.2.9/24"),
            net(TriggerKind::Nsip, "10.0.0.0/8"),
            nsdname,
            name("24.0.2.0.192.rpz-ip.example"),
            name("none.example"),
            net(TriggerKind::ClientIp, "10.0.0.0/8"),
        ];
        let found = ask(&[("main", main), ("part", part)], Form::Zone, &wanted);
        assert_eq!(found[0], [r"main:3: Bad.Example CNAME . ; b\195\188", "main:8: bad CNAME *."]);
        assert_eq!(found[1], ["main:4: *.bad.example CNAME ( ; dots . )"]);
        assert_eq!(
            found[2],
            [
                "main:9: local A 192.0.2.1",
                "main:10: A 192.0.2.2",
                "part:2: local.EXAMPLE A 192.0.2.4",
                "main:13: A 192.0.2.3",
            ]
        );
        assert_eq!(found[3], ["main:14: 24.0.2.0.192.rpz-ip.rpz.test. CNAME ."]);
        assert_eq!(found[4], ["part:3: 8.0.0.0.10.rpz-nsip CNAME ."]);
        assert_eq!(found[5], ["main:16: ns.rpz-nsdname.rpz.test. A 192.0.2.1"]);
        assert_eq!(found[6], ["main:15: 24.0.2.0.192.rpz-ip CNAME ."]);
        assert!(found[7].is_empty() && found[8].is_empty());
    }

    #[test]
    fn lines_of_lists() {
        let list = "a.example\nA.Example. # twice\n*.b.example\n||x^\n";
        let wanted = [name("a.example"), name("*.a.example"), name("*.b.example")];
        let found = ask(&[("l", list)], Form::Domains { subdomains: true }, &wanted);
        assert_eq!(found[0], ["l:1: a.example", "l:2: A.Example. # twice"]);
        assert_eq!(found[0], found[1]);
        assert_eq!(found[2], ["l:3: *.b.example"]);
        let hosts = "0.0.0.0 a.example  b.example a.example\n192.0.2.1 nas\n192.0.2.2 nas\n";
        let found = ask(
            &[("h", hosts)],
            Form::Hosts { subdomains: false },
            &[name("a.example"), name("nas"), name("*.nas")],
        );
        assert_eq!(found[0], ["h:1: 0.0.0.0 a.example b.example a.example"]);
        assert_eq!(found[1], ["h:2: 192.0.2.1 nas", "h:3: 192.0.2.2 nas"]);
        assert!(found[2].is_empty());
    }

    #[test]
    fn bounded() {
        let mut text = "@ SOA . . 1 1 1 1 1\n".to_owned();
        for i in 0..2 * limits::WRITTEN_RECORDS {
            text.push_str(&format!("x TXT {i} {}\n", "y ".repeat(200)));
        }
        text.push_str(&format!("long TXT (\n{})\n", "; z\n".repeat(9_000)));
        let found = ask(&[("z", &text)], Form::Zone, &[name("x"), name("long")]);
        assert_eq!(found[0].len(), limits::WRITTEN_RECORDS);
        assert_eq!(found[0][0].len(), "z:2: ".len() + limits::WRITTEN_TEXT);
        assert!(found[0][0].ends_with("y..."), "{}", found[0][0]);
        assert!(found[1].len() <= 1);
    }

    #[test]
    fn the_name_of_a_zone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("z");
        let ask = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let name = zone_name(&path, &Limits::default());
            name.map(|name| name.map(|name| name.to_string())).map_err(|err| err.reason)
        };
        let soa = "SOA . . 1 1 1 1 1\n";
        assert_eq!(ask(&format!("$TTL 1\nBlock.Test. {soa}")).unwrap().unwrap(), "block.test");
        assert_eq!(ask(&format!("$ORIGIN a.b.\n@ {soa}x CNAME (")).unwrap().unwrap(), "a.b");
        assert_eq!(ask(&format!("@ {soa}")), Ok(None));
        assert_eq!(ask("x CNAME .\n"), Ok(None));
        assert!(ask("a.example\n").unwrap_err().contains("format = \"domains\""));
    }
}
