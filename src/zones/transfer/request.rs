//! The requests that a transfer makes.

use super::framing::Asked;
use crate::dns::name::Name;
use crate::dns::{CLASS_IN, rtype};

/// A query for the zone's SOA (RFC 5936 section 1.1 has it precede a transfer).
pub(super) fn soa(zone: &Name, id: u16) -> Vec<u8> {
    question(zone, id, rtype::SOA)
}

/// A request for a transfer. One for changes shows the version that we have as an SOA in the
/// authority section, of which only the serial counts (RFC 1995 section 3).
pub(super) fn transfer(zone: &Name, id: u16, asked: Asked) -> Vec<u8> {
    let mut message = question(zone, id, asked.rtype());
    if let Asked::Since(serial) = asked {
        if let Some(authority) = message.get_mut(9) {
            *authority = 1;
        }
        message.extend(zone.as_wire());
        message.extend(rtype::SOA.to_be_bytes());
        message.extend(CLASS_IN.to_be_bytes());
        // TTL; length of two root names and five numbers; the names
        message.extend([0, 0, 0, 0, 0, 22, 0, 0]);
        message.extend(serial.to_be_bytes());
        message.extend([0; 16]);
    }
    message
}

fn question(zone: &Name, id: u16, rtype: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(zone.as_wire());
    message.extend(rtype.to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    message
}
