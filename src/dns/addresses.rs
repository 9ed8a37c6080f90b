//! Addresses and server names that an answer holds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::answer::Answer;
use super::name::Name;
use super::record::{Section, read_name, skip_name};
use super::{rtype, u16_at};

/// Keys of service parameters that hold addresses (RFC 9460 section 14.3.2).
const IPV4HINT: u16 = 4;
const IPV6HINT: u16 = 6;

impl Answer {
    /// Addresses in the answer section: A and AAAA records and, with `hints`, the address hints
    /// in HTTPS and SVCB records (RFC 9460 section 7.3).
    pub fn each_address(&self, hints: bool, each: &mut dyn FnMut(IpAddr)) {
        for record in self.records().take_while(|r| r.section == Section::Answer) {
            let Some(data) = self.message().get(record.rdata) else { continue };
            match record.rtype {
                rtype::A | rtype::AAAA => addresses(record.rtype == rtype::A, data, each),
                rtype::HTTPS | rtype::SVCB if hints => each_hint(data, each),
                _ => {}
            }
        }
    }

    /// Names of servers in the answer section (NS records).
    pub fn each_server(&self, each: &mut dyn FnMut(&Name)) {
        let servers = self.records().take_while(|r| r.section == Section::Answer);
        for record in servers.filter(|r| r.rtype == rtype::NS) {
            if let Ok((name, _)) = read_name(self.message(), record.rdata.start) {
                each(&name);
            }
        }
    }
}

/// One address, or several in a row; octets that are no whole address are passed over.
fn addresses(v4: bool, data: &[u8], each: &mut dyn FnMut(IpAddr)) {
    if v4 {
        data.as_chunks::<4>().0.iter().for_each(|a| each(Ipv4Addr::from(*a).into()));
    } else {
        data.as_chunks::<16>().0.iter().for_each(|a| each(Ipv6Addr::from(*a).into()));
    }
}

/// Address hints in the data of a SVCB or HTTPS record (RFC 9460 section 2.2); what cannot be
/// read ends the walk.
fn each_hint(data: &[u8], each: &mut dyn FnMut(IpAddr)) {
    // priority, target, then key, length and value of each parameter
    let Ok(mut at) = skip_name(data, 2) else { return };
    while let (Some(key), Some(len)) = (u16_at(data, at), u16_at(data, at + 2)) {
        at += 4;
        let Some(value) = data.get(at..at + usize::from(len)) else { return };
        if key == IPV4HINT || key == IPV6HINT {
            addresses(key == IPV4HINT, value, each);
        }
        at += value.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::question::Question;

    /// An answer to `question` with these records: type and data, owned by the question's name.
    fn answer(question: &Question, records: &[(u16, &[u8])]) -> Answer {
        let mut message = vec![0, 0, 0x81, 0x80, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
        message.extend_from_slice(question.name.as_wire());
        message.extend_from_slice(&question.rtype.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        for (rtype, data) in records {
            message.extend_from_slice(&[0xc0, 12]);
            message.extend_from_slice(&rtype.to_be_bytes());
            message.extend_from_slice(&[0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
            message.extend_from_slice(data);
        }
        Answer::receive(question, &message).unwrap()
    }

    fn addresses_of(answer: &Answer, hints: bool) -> Vec<String> {
        let mut found = Vec::new();
        answer.each_address(hints, &mut |address| found.push(address.to_string()));
        found
    }

    #[test]
    fn addresses_and_hints() {
        let question = |rtype| Question::plain("www.example".parse().unwrap(), rtype);
        let a = answer(&question(rtype::A), &[(rtype::A, &[192, 0, 2, 1])]);
        assert_eq!(addresses_of(&a, false), ["192.0.2.1"]);
        let mut svcb = vec![0, 1, 0, 0, 1, 0, 3, 2, b'h', b'2', 0, 4, 0, 8];
        svcb.extend_from_slice(&[192, 0, 2, 7, 192, 0, 2, 8, 0, 6, 0, 16]);
        svcb.extend_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        let https = answer(&question(rtype::HTTPS), &[(rtype::HTTPS, &svcb)]);
        assert_eq!(addresses_of(&https, true), ["192.0.2.7", "192.0.2.8", "2001:db8::7"]);
        assert!(addresses_of(&https, false).is_empty());
        // cut anywhere, it is read as far as it goes
        for cut in 0..svcb.len() {
            let part = answer(&question(rtype::HTTPS), &[(rtype::HTTPS, &svcb[..cut])]);
            assert!(addresses_of(&part, true).len() < 3);
        }
    }

    #[test]
    fn servers() {
        let question = Question::plain("example".parse().unwrap(), rtype::NS);
        let found = answer(&question, &[(rtype::NS, b"\x03NS1\xc0\x0c"), (rtype::NS, b"\0")]);
        let mut names = Vec::new();
        found.each_server(&mut |name| names.push(name.to_string()));
        assert_eq!(names, ["ns1.example", "."]);
    }
}
