//! Answers to transfers: octets as messages, and octets as records in messages of any size,
//! whose meaning is compared with that of a slow reading of the whole list.

use culvert::dns::name::Name;
use culvert::dns::record::read_name;
use culvert::dns::{HEADER, rtype};
use culvert::zones::transfer::framing::{Asked, Ended, Framing, Progress, Rr, Soa, Stop, Taker};
use culvert::zones::transfer::serial::{Order, order};

/// Records that one answer may have.
const MOST: u64 = 1_000;
const ID: u16 = 0x0c0c;

/// Checks one input.
pub fn check(octets: &[u8]) {
    let Some((&[switches, a, b, c, d], rest)) = octets.split_first_chunk() else { return };
    let ours = u32::from_be_bytes([a, b, c, d]);
    let asked = if switches & 1 == 0 { Asked::Whole } else { Asked::Since(ours) };
    if switches & 2 == 0 {
        as_messages(asked, rest);
    } else {
        as_records(asked, ours, rest);
    }
}

/// What a taker was told: `w` whole, `c` changes, `-`, `+`, and `s` for an SOA; with the number of
/// the record or the serial.
#[derive(Default, Debug, PartialEq, Eq)]
struct Told {
    zone: Option<Name>,
    notes: Vec<(char, u32)>,
}

impl Told {
    fn note(&mut self, kind: char, rr: &Rr<'_>) -> Result<(), Stop> {
        let zone = self.zone.expect("set before the first message");
        assert!(rr.owner.is_within(&zone), "a record of another zone");
        let first = self.notes.first().map(|note| note.0);
        match kind {
            'w' => assert_eq!(first, None, "a zone begins once"),
            '+' => assert!(first.is_some(), "nothing has begun"),
            _ => assert_eq!(first, Some('c'), "only among changes"),
        }
        let number = match rr.rtype {
            rtype::SOA => {
                assert!(matches!(kind, 'w' | 's') && *rr.owner == zone);
                Soa::read(rr.rdata).expect("an SOA can be read").serial
            }
            _ => {
                assert!(matches!(kind, '+' | '-'));
                rr.ttl
            }
        };
        self.notes.push((kind, number));
        Ok(())
    }
}

impl Taker for Told {
    fn whole(&mut self, soa: &Rr<'_>) -> Result<(), Stop> {
        self.note('w', soa)
    }

    fn changes(&mut self) -> Result<(), Stop> {
        assert!(self.notes.is_empty(), "changes begin once");
        self.notes.push(('c', 0));
        Ok(())
    }

    fn remove(&mut self, rr: &Rr<'_>) -> Result<(), Stop> {
        self.note('-', rr)
    }

    fn add(&mut self, rr: &Rr<'_>) -> Result<(), Stop> {
        self.note('+', rr)
    }

    fn soa(&mut self, soa: &Rr<'_>) -> Result<(), Stop> {
        self.note('s', soa)
    }
}

/// Messages behind their lengths; id and zone are those of the first one.
fn as_messages(asked: Asked, mut rest: &[u8]) {
    let first = rest.get(2..).unwrap_or_default();
    let Some(id) = first.first_chunk().map(|id| u16::from_be_bytes(*id)) else { return };
    let zone = read_name(first, HEADER).map_or(Name::ROOT, |(name, _)| name);
    let mut framing = Framing::new(zone, id, asked, MOST);
    let mut told = Told { zone: Some(zone), notes: Vec::new() };
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(behind.len());
        let (message, next) = behind.split_at(length);
        rest = next;
        let result = framing.message(message, &mut told);
        assert!(framing.records() <= MOST + 1);
        match result {
            Ok(Progress::More) => {}
            Ok(Progress::Done(Ended::UpToDate)) => return assert!(told.notes.is_empty()),
            Ok(Progress::Done(_)) => return assert!(!told.notes.is_empty()),
            Err(fault) => return assert!(!fault.to_string().is_empty()),
        }
    }
}

/// A record in the second form of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Symbol {
    Soa(u32),
    Data(u32),
    Stranger,
    OtherClass,
}

impl Symbol {
    fn of(octet: u8, ours: u32) -> Symbol {
        match octet & 0x7f {
            n @ 0..=0x1f => Symbol::Soa(ours.wrapping_add(u32::from(n & 7))),
            0x20 => Symbol::Soa(ours.wrapping_sub(1)),
            0x21 => Symbol::Soa(ours.wrapping_add(0x8000_0000)),
            0x22 => Symbol::Soa(ours.wrapping_add(0x8000_0001)),
            0x23 => Symbol::Stranger,
            0x24 => Symbol::OtherClass,
            n => Symbol::Data(u32::from(n)),
        }
    }

    /// The record in a message whose question is the zone `z`.
    fn bytes(self) -> Vec<u8> {
        let soa = |serial: u32| {
            let mut rdata = vec![0xc0, 12, 0xc0, 12];
            rdata.extend(serial.to_be_bytes());
            rdata.extend([0; 16]);
            rdata
        };
        let (owner, rtype, class, ttl, rdata): (&[u8], u8, u8, u32, Vec<u8>) = match self {
            Symbol::Soa(serial) => (&[0xc0, 12], 6, 1, 0, soa(serial)),
            Symbol::Data(n) => (&[1, b'a', 0xc0, 12], 16, 1, n, vec![1, b'x']),
            Symbol::Stranger => (&[1, b'y', 0], 16, 1, 0, vec![1, b'x']),
            Symbol::OtherClass => (&[0xc0, 12], 16, 3, 0, vec![1, b'x']),
        };
        let mut out = owner.to_vec();
        out.extend([0, rtype, 0, class]);
        out.extend(ttl.to_be_bytes());
        out.extend((rdata.len() as u16).to_be_bytes());
        out.extend(rdata);
        out
    }
}

/// Each octet is a record; one with the top bit set begins a new message.
fn as_records(asked: Asked, ours: u32, octets: &[u8]) {
    let octets = octets.get(..octets.len().min(200)).unwrap_or_default();
    let list: Vec<Symbol> = octets.iter().map(|octet| Symbol::of(*octet, ours)).collect();
    let mut borders: Vec<usize> = (1..list.len()).filter(|&i| octets[i] & 0x80 != 0).collect();
    borders.push(list.len());
    let zone = Name::from_wire(b"\x01z\0").expect("a name");
    let mut framing = Framing::new(zone, ID, asked, MOST);
    let mut told = Told { zone: Some(zone), notes: Vec::new() };
    let mut start = 0;
    let mut last = Ok(Progress::More);
    for &border in &borders {
        if start == border {
            break;
        }
        last = framing.message(&message(asked, &list[start..border]), &mut told);
        if last != Ok(Progress::More) {
            break;
        }
        start = border;
    }
    let expected = plainly(asked, &list);
    match (expected, last) {
        (Meaning::Unfinished, Ok(Progress::More)) | (Meaning::Bad, Err(_)) => {}
        (Meaning::Good { ended, notes, records }, Ok(Progress::Done(got))) => {
            assert_eq!((ended, notes), (got, told.notes), "{list:?}");
            assert!(ended == Ended::UpToDate || borders.contains(&records), "{list:?}");
        }
        // good so far, but something follows in the last message
        (Meaning::Good { ended, records, .. }, Err(_)) => {
            assert!(ended != Ended::UpToDate && !borders.contains(&records), "{list:?}");
        }
        (expected, last) => panic!("{list:?} {borders:?}: {expected:?}, but {last:?}"),
    }
}

fn message(asked: Asked, part: &[Symbol]) -> Vec<u8> {
    let mut out = ID.to_be_bytes().to_vec();
    out.extend([0x84, 0, 0, 1, 0, part.len() as u8, 0, 0, 0, 0, 1, b'z', 0]);
    out.extend(asked.rtype().to_be_bytes());
    out.extend([0, 1]);
    part.iter().for_each(|symbol| out.extend(symbol.bytes()));
    out
}

/// What a whole list of records means.
#[derive(Debug)]
enum Meaning {
    Good { ended: Ended, notes: Vec<(char, u32)>, records: usize },
    Bad,
    Unfinished,
}

/// Reads the list as one grammar: an SOA, then either steps of changes or a zone.
fn plainly(asked: Asked, list: &[Symbol]) -> Meaning {
    let Some(&first) = list.first() else { return Meaning::Unfinished };
    let Symbol::Soa(head) = first else { return Meaning::Bad };
    if let Asked::Since(ours) = asked {
        match order(head, ours) {
            Order::Newer => {}
            Order::Same => {
                return Meaning::Good { ended: Ended::UpToDate, notes: Vec::new(), records: 1 };
            }
            _ => return Meaning::Bad,
        }
        match list.get(1) {
            Some(&Symbol::Soa(serial)) if serial == ours => return steps(ours, head, list),
            Some(&Symbol::Soa(serial)) if serial != head => return Meaning::Bad,
            _ => {}
        }
    }
    if list.len() == 1 {
        return Meaning::Unfinished;
    }
    let end = 1 + run(&list[1..]);
    let mut notes = vec![('w', head)];
    notes.extend(numbers('+', &list[1..end]));
    match list.get(end) {
        None => Meaning::Unfinished,
        Some(&symbol) if symbol == first => {
            Meaning::Good { ended: Ended::Whole(head), notes, records: end + 1 }
        }
        Some(_) => Meaning::Bad,
    }
}

fn steps(ours: u32, head: u32, list: &[Symbol]) -> Meaning {
    let (mut at, mut from) = (2, ours);
    let mut notes = vec![('c', 0)];
    loop {
        let removed = at + run(&list[at..]);
        notes.extend(numbers('-', &list[at..removed]));
        let to = match list.get(removed) {
            None => return Meaning::Unfinished,
            Some(&Symbol::Soa(to)) => to,
            Some(_) => return Meaning::Bad,
        };
        let forward = order(to, from) == Order::Newer;
        if !forward || to != head && order(head, to) != Order::Newer {
            return Meaning::Bad;
        }
        notes.push(('s', to));
        let added = removed + 1 + run(&list[removed + 1..]);
        notes.extend(numbers('+', &list[removed + 1..added]));
        match list.get(added) {
            None => return Meaning::Unfinished,
            Some(&symbol) if symbol != Symbol::Soa(to) => return Meaning::Bad,
            Some(_) if to == head => {
                return Meaning::Good { ended: Ended::Changes(to), notes, records: added + 1 };
            }
            Some(_) => (at, from) = (added + 1, to),
        }
    }
}

/// How many records of data the list begins with.
fn run(list: &[Symbol]) -> usize {
    list.iter().take_while(|symbol| matches!(symbol, Symbol::Data(_))).count()
}

fn numbers(kind: char, list: &[Symbol]) -> impl Iterator<Item = (char, u32)> {
    list.iter().filter_map(move |symbol| match symbol {
        Symbol::Data(n) => Some((kind, *n)),
        _ => None,
    })
}
