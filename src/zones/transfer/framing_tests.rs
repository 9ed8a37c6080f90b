//! Answers in short form: `S3` is the SOA with serial 3, `a` a record of a.feed.example, `|` the
//! border between two messages.

use super::*;

const ID: u16 = 0x1234;

fn zone() -> Name {
    "feed.example".parse().unwrap()
}

/// Writes down what it gets in the same short form.
#[derive(Default)]
struct Notes {
    text: Vec<String>,
    /// Refuses this record.
    refuses: Option<&'static str>,
}

impl Notes {
    fn note(&mut self, what: &str, rr: &Rr<'_>) -> Result<(), Stop> {
        let name = match rr.rtype {
            rtype::SOA => Soa::read(rr.rdata).unwrap().serial.to_string(),
            _ => rr.owner.strip_suffix(&zone()).unwrap().to_string(),
        };
        if self.refuses == Some(&*name) {
            return Err(Stop::Misfit(format!("{name} does not fit")));
        }
        self.text.push(format!("{what}{name}"));
        Ok(())
    }
}

impl Taker for Notes {
    fn whole(&mut self, soa: &Rr<'_>) -> Result<(), Stop> {
        self.note("whole ", soa)
    }

    fn changes(&mut self) -> Result<(), Stop> {
        self.text.push("changes".to_owned());
        Ok(())
    }

    fn remove(&mut self, rr: &Rr<'_>) -> Result<(), Stop> {
        self.note("-", rr)
    }

    fn add(&mut self, rr: &Rr<'_>) -> Result<(), Stop> {
        self.note("+", rr)
    }

    fn soa(&mut self, soa: &Rr<'_>) -> Result<(), Stop> {
        self.note("to ", soa)
    }
}

fn soa_data(serial: u32, refresh: u32) -> Vec<u8> {
    let mut rdata = b"\x02ns\xc0\x0c\x04HOST\xc0\x0c".to_vec();
    rdata.extend(serial.to_be_bytes());
    rdata.extend(refresh.to_be_bytes());
    rdata.extend([0; 12]);
    rdata
}

fn rr(owner: &[u8], rtype: u16, class: u16, rdata: &[u8]) -> Vec<u8> {
    let mut out = owner.to_vec();
    out.extend(rtype.to_be_bytes());
    out.extend(class.to_be_bytes());
    out.extend(60u32.to_be_bytes());
    out.extend((rdata.len() as u16).to_be_bytes());
    out.extend(rdata);
    out
}

/// A record in short form, its names compressed against the question.
fn record(word: &str) -> Vec<u8> {
    if let Some(serial) = word.strip_prefix('S') {
        return rr(&[0xc0, 12], rtype::SOA, 1, &soa_data(serial.parse().unwrap(), 3600));
    }
    let mut owner = vec![word.len() as u8];
    owner.extend(word.as_bytes());
    owner.extend([0xc0, 12]);
    rr(&owner, rtype::A, 1, &[192, 0, 2, 1])
}

fn envelope(asked: Asked, records: &[Vec<u8>]) -> Vec<u8> {
    let mut message = ID.to_be_bytes().to_vec();
    message.extend([0x84, 0, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    message.extend(b"\x04feed\x07EXAMPLE\x00");
    message.extend(asked.rtype().to_be_bytes());
    message.extend([0, 1]);
    message.extend(records.concat());
    message
}

fn messages(asked: Asked, text: &str) -> Vec<Vec<u8>> {
    let records = |part: &str| part.split_whitespace().map(record).collect::<Vec<_>>();
    text.split('|').map(|part| envelope(asked, &records(part))).collect()
}

fn read_all(asked: Asked, text: &str) -> (Vec<String>, Result<Progress, Fault>) {
    let mut framing = Framing::new(zone(), ID, asked, 100);
    let mut notes = Notes::default();
    let mut last = Ok(Progress::More);
    for message in messages(asked, text) {
        last = framing.message(&message, &mut notes);
        if last != Ok(Progress::More) {
            break;
        }
    }
    (notes.text, last)
}

#[track_caller]
fn good(asked: Asked, text: &str, notes: &str, ended: Ended) {
    let (got, last) = read_all(asked, text);
    assert_eq!((got.join(" "), last), (notes.to_owned(), Ok(Progress::Done(ended))), "{text}");
}

#[track_caller]
fn bad(asked: Asked, text: &str, fault: Fault) {
    assert_eq!(read_all(asked, text).1, Err(fault), "{text}");
}

#[test]
fn a_whole_zone() {
    let expected = "whole 7 +a +b";
    for text in ["S7 a b S7", "S7 | a b | S7", "S7 a | b S7", "S7 | a | b | S7"] {
        good(Asked::Whole, text, expected, Ended::Whole(7));
        // inside an answer to IXFR
        good(Asked::Since(3), text, expected, Ended::Whole(7));
    }
    good(Asked::Whole, "S7 S7", "whole 7", Ended::Whole(7));
    good(Asked::Since(6), "S7 | S7", "whole 7", Ended::Whole(7));
}

#[test]
fn changes_step_by_step_and_at_once() {
    let asked = Asked::Since(1);
    let steps = "S3 S1 a S2 b S2 c d S3 S3";
    let expected = "changes -a to 2 +b -c -d to 3";
    good(asked, steps, expected, Ended::Changes(3));
    // cut at any one border, and at all of them
    let words: Vec<&str> = steps.split(' ').collect();
    for at in 1..words.len() {
        let text = format!("{} | {}", words[..at].join(" "), words[at..].join(" "));
        good(asked, &text, expected, Ended::Changes(3));
    }
    good(asked, &words.join(" | "), expected, Ended::Changes(3));
    good(asked, "S3 S1 a S3 b S3", "changes -a to 3 +b", Ended::Changes(3));
    good(asked, "S3 S1 S3 S3", "changes to 3", Ended::Changes(3));
    let wrap = "S1 S4294967295 a S0 b S0 S1 c S1";
    let notes = "changes -a to 0 +b to 1 +c";
    good(Asked::Since(u32::MAX), wrap, notes, Ended::Changes(1));
}

#[test]
fn nothing_newer() {
    for text in ["S5", "S5 S5", "S5 a S5"] {
        good(Asked::Since(5), text, "", Ended::UpToDate);
    }
    bad(Asked::Since(6), "S5", Fault::Backwards { theirs: 5, ours: 6 });
    bad(Asked::Since(6), "S5 a S5", Fault::Backwards { theirs: 5, ours: 6 });
    let (theirs, ours) = (0x8000_0005, 5);
    bad(Asked::Since(5), "S2147483653", Fault::Undefined { theirs, ours });
}

#[test]
fn a_lone_soa_is_known() {
    for (asked, expected) in [(Asked::Since(5), true), (Asked::Whole, false)] {
        let mut framing = Framing::new(zone(), ID, asked, 10);
        assert!(!framing.is_lone_soa());
        framing.message(&messages(asked, "S7")[0], &mut Notes::default()).unwrap();
        assert_eq!(framing.is_lone_soa(), expected);
        framing.message(&messages(asked, "a")[0], &mut Notes::default()).unwrap();
        assert!(!framing.is_lone_soa());
    }
}

#[test]
fn broken_chains() {
    let since = Asked::Since(1);
    // begins at another version, does not link up, leads back, past the end, or nowhere
    bad(since, "S3 S2 a S3 b S3", Fault::Chain { expected: 1, got: 2 });
    bad(since, "S4 S1 a S2 b S3 c S4 S4", Fault::Chain { expected: 2, got: 3 });
    bad(since, "S3 S1 a S1 b S1", Fault::LeadsBack { from: 1, to: 1 });
    bad(since, "S3 S1 a S2 b S2 c S1", Fault::LeadsBack { from: 2, to: 1 });
    bad(since, "S3 S1 a S4 b S4", Fault::LeadsBack { from: 1, to: 4 });
    bad(since, "S3 S1 a S3 b S4", Fault::Chain { expected: 3, got: 4 });
    let far = Fault::LeadsBack { from: 1, to: 0x8000_0001 };
    bad(since, "S3 S1 S2147483649 S2147483649", far);
}

#[test]
fn broken_frames() {
    for asked in [Asked::Whole, Asked::Since(1)] {
        bad(asked, "a S7 S7", Fault::NoSoaFirst);
        bad(asked, "S7 a S8", Fault::EndDiffers { first: 7, last: 8 });
        bad(asked, "S7 a S7 b", Fault::AfterTheEnd);
        bad(asked, "S7 a S7 S7", Fault::AfterTheEnd);
        bad(asked, "S7 a | | S7", Fault::Empty);
        assert_eq!(read_all(asked, "S7 a b").1, Ok(Progress::More));
    }
    bad(Asked::Whole, "S7 S8", Fault::EndDiffers { first: 7, last: 8 });
    bad(Asked::Since(1), "S3 S1 S3 S3 a", Fault::AfterTheEnd);
}

/// The answer `S7 a S7`, its records changed.
fn changed(change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Result<Progress, Fault> {
    let mut records: Vec<_> = ["S7", "a", "S7"].map(record).into();
    change(&mut records);
    let message = envelope(Asked::Whole, &records);
    Framing::new(zone(), ID, Asked::Whole, 100).message(&message, &mut Notes::default())
}

#[test]
fn records_that_no_zone_has() {
    assert_eq!(changed(|_| ()), Ok(Progress::Done(Ended::Whole(7))));
    let soa = soa_data(7, 3600);
    // the same serial in another SOA
    let last = changed(|r| r[2] = rr(&[0xc0, 12], 6, 1, &soa_data(7, 1)));
    assert_eq!(last, Err(Fault::EndDiffers { first: 7, last: 7 }));
    let above = b"\xc0\x11";
    let fault = Err(Fault::OtherSoa("example".to_owned()));
    assert_eq!(changed(|r| r[0] = rr(above, 6, 1, &soa)), fault);
    let fault = Err(Fault::OutOfZone("example".to_owned()));
    assert_eq!(changed(|r| r[1] = rr(above, 1, 1, &[0; 4])), fault);
    assert_eq!(changed(|r| r[1] = rr(&[0xc0, 12], 1, 3, &[0; 4])), Err(Fault::Class(3)));
    for kind in [0, 41, 249, 250, 251, 255] {
        assert_eq!(changed(|r| r[1] = rr(&[0xc0, 12], kind, 1, &[])), Err(Fault::NoData(kind)));
    }
}

#[test]
fn names_that_cannot_be_read() {
    let owner = [0xc0, 12];
    // a pointer to itself, forward, and behind the record; data behind a name, and too little
    let loops = changed(|r| {
        let at = envelope(Asked::Whole, &r[..1]).len() as u8;
        r[1] = rr(&[0xc0, at], 1, 1, &[0; 4]);
    });
    assert_eq!(loops, Err(Fault::Malformed));
    for rdata in [&b"\xc0\xff"[..], b"\x01a", b"\x01a\xc0\x0c\x00", b"", b"\x40a\x00"] {
        assert_eq!(changed(|r| r[1] = rr(&owner, 5, 1, rdata)), Err(Fault::Malformed));
    }
    for octets in [0, 10, 35] {
        let mut soa = soa_data(7, 3600);
        soa.resize(octets, 0);
        assert_eq!(changed(|r| r[0] = rr(&owner, 6, 1, &soa)), Err(Fault::Malformed));
    }
}

#[test]
fn names_are_written_out_in_lower_case() {
    struct Seen(Vec<(Name, Vec<u8>)>);
    impl Taker for Seen {
        fn whole(&mut self, soa: &Rr<'_>) -> Result<(), Stop> {
            self.add(soa)
        }
        fn changes(&mut self) -> Result<(), Stop> {
            unreachable!()
        }
        fn remove(&mut self, _: &Rr<'_>) -> Result<(), Stop> {
            unreachable!()
        }
        fn add(&mut self, rr: &Rr<'_>) -> Result<(), Stop> {
            self.0.push((*rr.owner, rr.rdata.to_vec()));
            Ok(())
        }
        fn soa(&mut self, _: &Rr<'_>) -> Result<(), Stop> {
            unreachable!()
        }
    }
    let alias = rr(b"\x01B\xc0\x0c", 5, 1, b"\x03WwW\xc0\x11");
    let mail = rr(b"\x01m\xc0\x0c", 15, 1, b"\x00\x0a\x02MX\xc0\x0c");
    let text = rr(b"\x01t\xc0\x0c", 16, 1, b"\x03WwW");
    let message = envelope(Asked::Whole, &[record("S7"), alias, mail, text, record("S7")]);
    let mut seen = Seen(Vec::new());
    let mut framing = Framing::new(zone(), ID, Asked::Whole, 5);
    framing.message(&message, &mut seen).unwrap();
    let wire = |name: &str| name.parse::<Name>().unwrap().as_wire().to_vec();
    assert_eq!(seen.0[0].1[..wire("ns.feed.example").len()], wire("ns.feed.example"));
    assert_eq!(Soa::read(&seen.0[0].1).unwrap().refresh, 3600);
    assert_eq!(seen.0[1], ("b.feed.example".parse().unwrap(), wire("www.example")));
    assert_eq!(seen.0[2].1, [vec![0, 10], wire("mx.feed.example")].concat());
    assert_eq!(seen.0[3].1, b"\x03WwW");
}

#[test]
fn headers_that_are_not_ours() {
    let good = messages(Asked::Whole, "S7 a S7").remove(0);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut message = good.clone();
        change(&mut message);
        let mut framing = Framing::new(zone(), ID, Asked::Whole, 100);
        framing.message(&message, &mut Notes::default())
    };
    let done = Ok(Progress::Done(Ended::Whole(7)));
    assert_eq!(with(&|_| ()), done);
    assert_eq!(with(&|m| m[1] ^= 1), Err(Fault::NotOurs));
    assert_eq!(with(&|m| m[2] &= 0x7f), Err(Fault::NotOurs));
    assert_eq!(with(&|m| m[2] |= 0x20), Err(Fault::NotOurs));
    assert_eq!(with(&|m| m[2] |= 0x02), Err(Fault::Truncated));
    assert_eq!(with(&|m| m[3] |= 5), Err(Fault::Rcode(5)));
    assert_eq!(with(&|m| m[5] = 2), Err(Fault::Malformed));
    assert_eq!(with(&|m| m[13] = b'x'), Err(Fault::OtherQuestion));
    assert_eq!(with(&|m| m[27] = 1), Err(Fault::OtherQuestion));
    assert_eq!(with(&|m| m[29] = 3), Err(Fault::OtherQuestion));
    assert_eq!(with(&|m| m.push(0)), Err(Fault::Malformed));
    assert_eq!(with(&|m| m.truncate(m.len() - 1)), Err(Fault::Malformed));
    assert_eq!(with(&|m| m.truncate(11)), Err(Fault::Malformed));
    assert_eq!(with(&|m| m.clear()), Err(Fault::Malformed));
    // the answer to a request for changes is no answer to one for all
    let changes = messages(Asked::Since(1), "S7 a S7").remove(0);
    let mut framing = Framing::new(zone(), ID, Asked::Whole, 100);
    let fault = framing.message(&changes, &mut Notes::default());
    assert_eq!(fault, Err(Fault::OtherQuestion));
    // later messages need no question; records with pointers need their names then
    let soa = soa_data(7, 3600);
    let whole = [&b"\x04feed\x07example\x00"[..], &rr(&[], 6, 1, &soa)].concat();
    let mut bare = ID.to_be_bytes().to_vec();
    bare.extend([0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    bare.extend(whole);
    let mut framing = Framing::new(zone(), ID, Asked::Whole, 100);
    let first = &messages(Asked::Whole, "S7 a")[0];
    assert_eq!(framing.message(first, &mut Notes::default()), Ok(Progress::More));
    assert_eq!(framing.message(&bare, &mut Notes::default()), done);
}

#[test]
fn limits_and_takers_end_it() {
    let mut framing = Framing::new(zone(), ID, Asked::Whole, 3);
    let message = &messages(Asked::Whole, "S7 a b S7")[0];
    let mut notes = Notes::default();
    assert_eq!(framing.message(message, &mut notes), Err(Fault::TooMany(3)));
    assert_eq!(framing.records(), 4);
    let mut framing = Framing::new(zone(), ID, Asked::Whole, 4);
    let mut notes = Notes { refuses: Some("b"), ..Notes::default() };
    let fault = Fault::Stopped(Stop::Misfit("b does not fit".to_owned()));
    assert_eq!(framing.message(message, &mut notes), Err(fault));
}

#[test]
fn the_soa_of_a_primary() {
    let mut message = envelope(Asked::Whole, &[record("S7")]);
    message[26..28].copy_from_slice(&rtype::SOA.to_be_bytes());
    let soa = read_serial(&message, ID, &zone()).unwrap();
    assert_eq!((soa.serial, soa.refresh), (7, 3600));
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut message = message.clone();
        change(&mut message);
        read_serial(&message, ID, &zone())
    };
    assert_eq!(with(&|m| m[2] &= !4), Err(Fault::NoSoa));
    assert_eq!(with(&|m| (m[7], m[9]) = (0, 1)), Err(Fault::NoSoa));
    assert_eq!(with(&|m| m[3] = 9), Err(Fault::Rcode(9)));
    assert_eq!(with(&|m| m[0] = 0), Err(Fault::NotOurs));
}
