//! Signatures: octets as messages from anybody, and as the content of messages that are signed,
//! changed in one place, and checked.

use std::sync::Arc;

use culvert::dns::HEADER;
use culvert::dns::tsig::{
    Algorithm, Key, Mac, RequestFault, Sequence, answer_fault, check_request, sign_answer,
    sign_request,
};

/// When the seeds were signed, in seconds since 1970.
const NOW: u64 = 1_795_318_116;

/// Checks one input.
pub fn check(octets: &[u8]) {
    let Some((&switches, rest)) = octets.split_first() else { return };
    let algorithm = Algorithm::ALL[usize::from(switches >> 1) % Algorithm::ALL.len()];
    let name = "key.test".parse().expect("a name");
    let key = Key { name, algorithm, secret: (0..32).collect() };
    if switches & 1 == 0 {
        from_anybody(&key, rest);
    } else {
        changed(&key, rest);
    }
}

/// A packet that says it is signed: as a request, and as an answer.
fn from_anybody(key: &Key, packet: &[u8]) {
    match check_request(packet, key, NOW) {
        Ok(request) => {
            assert!(request.end < packet.len() && request.end >= HEADER);
            let length = request.mac.as_octets().len();
            assert!((key.algorithm.shortest_mac()..=key.algorithm.mac_len()).contains(&length));
        }
        Err(fault) => told(key, packet, &fault),
    }
    let mut request = vec![0; HEADER];
    let mac = sign_request(&mut request, key, NOW);
    let mut sequence = Sequence::new(Arc::new(key.clone()), mac);
    for _ in 0..3 {
        match sequence.check(packet, NOW) {
            Ok(end) => assert!(end <= packet.len()),
            Err(fault) => return assert!(!fault.to_string().is_empty()),
        }
    }
}

/// The answer that tells a fault is a message, and signed for one whose clock is off.
fn told(key: &Key, packet: &[u8], fault: &RequestFault) {
    let mut answer = vec![0; HEADER];
    answer_fault(&mut answer, packet, fault, key, NOW);
    let silent = matches!(fault, RequestFault::Unsigned | RequestFault::Garbled);
    assert_eq!(answer.len() == HEADER, silent);
    if !silent {
        assert_eq!(answer[HEADER - 1], 1);
        assert!(check_request(&answer, key, NOW).is_err(), "an answer is no request");
    }
}

/// The octets as data of a record; the first three say where and how the message is changed.
fn changed(key: &Key, octets: &[u8]) {
    let Some((&[high, low, bit], data)) = octets.split_first_chunk() else { return };
    let message = message(data);
    let mut signed = message.clone();
    let mac = sign_request(&mut signed, key, NOW);
    let request = check_request(&signed, key, NOW).expect("what we sign is signed");
    assert_eq!((&request.mac, request.end), (&mac, message.len()));
    let mut answer = message.clone();
    sign_answer(&mut answer, key, NOW, &mac);
    assert!(answers(key, &mac, &answer), "an answer that we sign is signed");
    assert_ne!(signed, answer, "an answer is no request");
    let at = usize::from(u16::from_be_bytes([high, low])) % answer.len();
    let flip = 1 << (bit & 7);
    for (what, is_good) in [(&mut signed, false), (&mut answer, true)] {
        what[at] ^= flip;
        let good = match is_good {
            true => answers(key, &mac, what),
            false => check_request(what, key, NOW).is_ok(),
        };
        // the id is what the signer wrote into the record, and names have no case
        let name = at >= message.len() && flip == 0x20;
        assert!(!good || at < 2 || name, "octet {at}, bit {bit} of {what:02x?}");
    }
}

fn answers(key: &Key, request: &Mac, answer: &[u8]) -> bool {
    let mut sequence = Sequence::new(Arc::new(key.clone()), request.clone());
    sequence.check(answer, NOW).is_ok() && sequence.finish().is_ok()
}

/// A message with one record of text type that holds this.
fn message(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x12, 0x34, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    out.extend([0, 0, 16, 0, 1, 0, 0, 0, 60]);
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
    out
}
