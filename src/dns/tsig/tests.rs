//! Signatures made and checked, and everything that must be refused.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;

use super::hash::Digest;
use super::*;
use crate::dns::{HEADER, rcode};

const NOW: u64 = 1_795_318_116;

fn key(algorithm: Algorithm) -> Key {
    let secret = (0..32).collect();
    Key { name: "key.test".parse().unwrap(), algorithm, secret }
}

fn octets(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// `feed.example SOA` with id 0x1234.
fn query() -> Vec<u8> {
    octets("1234012000010000000000000466656564076578616d706c650000060001")
}

/// An envelope of an answer with this much in it.
fn envelope(n: u8) -> Vec<u8> {
    let mut message = query();
    message[2] = 0x84;
    message[7] = 1;
    message.extend(b"\x01a\x00\x00\x10\x00\x01\x00\x00\x00\x3c\x00\x02\x01");
    message.push(n);
    message
}

/// The answering side, written by the letter of the RFC and apart from what is tested.
struct Peer {
    prior: Vec<u8>,
    unsigned: Vec<u8>,
    first: bool,
}

impl Peer {
    fn new(request: &Mac) -> Peer {
        Peer { prior: request.as_octets().to_vec(), unsigned: Vec::new(), first: true }
    }

    fn skip(&mut self, message: &[u8]) -> Vec<u8> {
        self.unsigned.extend(message);
        message.to_vec()
    }

    fn sign(&mut self, message: &[u8], now: u64) -> Vec<u8> {
        let timers = [&now.to_be_bytes()[2..], &[1, 44]].concat();
        let mut input = [&(self.prior.len() as u16).to_be_bytes()[..], &self.prior].concat();
        input.append(&mut self.unsigned);
        input.extend(message);
        let name = b"\x03key\x04test\x00";
        let algorithm = b"\x0bhmac-sha256\x00";
        match std::mem::take(&mut self.first) {
            true => {
                input.extend(name);
                input.extend([0, 255, 0, 0, 0, 0]);
                input.extend(algorithm);
                input.extend(&timers);
                input.extend([0, 0, 0, 0]);
            }
            false => input.extend(&timers),
        }
        let secret: Vec<u8> = (0..32).collect();
        let mut hmac = <Hmac<Sha256> as KeyInit>::new_from_slice(&secret).unwrap();
        hmac.update(&input);
        self.prior = hmac.finalize().into_bytes().to_vec();
        let mut out = message.to_vec();
        out[11] += 1;
        // the name in another case than the key's
        out.extend(b"\x03KEY\x04test\x00");
        out.extend([0, 250, 0, 255, 0, 0, 0, 0, 0, 61]);
        out.extend(algorithm);
        out.extend(timers);
        out.extend([0, 32]);
        out.extend(&self.prior);
        out.extend([&message[..2], &[0, 0, 0, 0]].concat());
        out
    }
}

/// A request of ours, the peer that answers it, and the check of the answer.
fn exchange() -> (Peer, Sequence) {
    let key = key(Algorithm::Sha256);
    let mac = sign_request(&mut query(), &key, NOW);
    (Peer::new(&mac), Sequence::new(Arc::new(key), mac))
}

#[test]
fn requests_are_signed_as_dig_signs_them() {
    // dig 9.18 -y ALGORITHM:Key.Test:... +qid=4660 +noedns feed.example SOA
    let rest = [
        (
            Algorithm::Md5,
            "3a08686d61632d6d6435077369672d616c670372656703696e740000006b026164012c0010\
             5cf53c24a0bcf97a6e9dcfd824eb1b9d123400000000",
        ),
        (
            Algorithm::Sha1,
            "2f09686d61632d736861310000006b026164012c0014\
             81368b59a4e4b2e1d3f519bdafb329002dc3df7c123400000000",
        ),
        (
            Algorithm::Sha256,
            "3d0b686d61632d7368613235360000006b026164012c0020\
             93f73a68e2b6dac27cb92f10a5ed2d949657f2d155df731f0139d953f42b0cb6123400000000",
        ),
        (
            Algorithm::Sha384,
            "4d0b686d61632d7368613338340000006b026164012c0030\
             428bb9d33ebb6c0a1301f09db7ca7773e7780be9d9409bfdb39c797cbb036cfd\
             e643b8484433be6c07187ef12a42eac9123400000000",
        ),
        (
            Algorithm::Sha512,
            "5d0b686d61632d7368613531320000006b026164012c0040\
             fdfa58f76cb55548ac1eac5536d29d0d1e57fe9bba7d47db2be8cf29244f2aad\
             7822456b6e886da167f1b6b1463c7b3b5c3fd3a53a1334c6c8a02a892e5410f0123400000000",
        ),
    ];
    for (algorithm, rest) in rest {
        let mut expected = query();
        expected[11] = 1;
        expected.extend(octets("036b657904746573740000fa00ff0000000000"));
        expected.extend(octets(rest));
        let mut message = query();
        let mac = sign_request(&mut message, &key(algorithm), NOW);
        assert_eq!(message, expected, "{algorithm:?}");
        let request = check_request(&expected, &key(algorithm), NOW).unwrap();
        assert_eq!(request, Request { mac, end: query().len() });
    }
}

#[test]
fn hashes_are_those_of_rfc_2202_and_4231() {
    let expected = [
        (Algorithm::Md5, "750c783e6ab0b503eaa86e310a5db738"),
        (Algorithm::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (Algorithm::Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    ];
    for (algorithm, mac) in expected {
        let secret = (*b"Jefe").into();
        let mut digest = Digest::new(&Key { secret, ..key(algorithm) });
        digest.octets(b"what do ya want for nothing?");
        assert_eq!(digest.finish().as_octets(), octets(mac), "{algorithm:?}");
    }
}

#[test]
fn names_of_algorithms() {
    for algorithm in Algorithm::ALL {
        assert_eq!(Algorithm::parse(algorithm.as_str()), Some(algorithm));
        assert_eq!(Algorithm::parse(&algorithm.as_str().to_uppercase()), Some(algorithm));
        let name = Name::from_wire(algorithm.wire()).unwrap();
        assert_eq!(Algorithm::parse(&format!("{name}.")), Some(algorithm));
    }
    assert_eq!(Algorithm::parse("sha256"), None);
    assert_eq!(Algorithm::parse(""), None);
}

#[test]
fn secrets_are_not_printed() {
    let secret = (*b"hunter2hunter2").into();
    let key = Key { secret, ..key(Algorithm::Sha256) };
    assert_eq!(format!("{key:?}"), "Key(key.test hmac-sha256)");
}

#[test]
fn envelopes_are_checked_in_their_order() {
    let (mut peer, mut sequence) = exchange();
    assert_eq!(sequence.finish(), Err(Fault::Unsigned));
    let plain = envelope(0).len();
    assert_eq!(sequence.check(&peer.sign(&envelope(0), NOW + 1), NOW), Ok(plain));
    assert_eq!(sequence.check(&peer.sign(&envelope(1), NOW + 2), NOW), Ok(plain));
    assert_eq!(sequence.finish(), Ok(()));
    for n in 2..5 {
        assert_eq!(sequence.check(&peer.skip(&envelope(n)), NOW), Ok(plain));
        assert_eq!(sequence.finish(), Err(Fault::UnsignedAtTheEnd));
    }
    assert_eq!(sequence.check(&peer.sign(&envelope(5), NOW), NOW), Ok(plain));
    assert_eq!(sequence.check(&peer.sign(&envelope(6), NOW), NOW), Ok(plain));
    assert_eq!(sequence.finish(), Ok(()));
}

#[test]
fn a_signature_of_its_own_answers_itself() {
    // our own answering side, in every algorithm
    for algorithm in Algorithm::ALL {
        let key = key(algorithm);
        let mut request = query();
        let mac = sign_request(&mut request, &key, NOW);
        let got = check_request(&request, &key, NOW + 300).unwrap();
        let mut answer = envelope(1);
        sign_answer(&mut answer, &key, NOW, &got.mac);
        let mut sequence = Sequence::new(Arc::new(key), mac);
        assert_eq!(sequence.check(&answer, NOW), Ok(envelope(1).len()));
        assert_eq!(sequence.finish(), Ok(()));
    }
}

#[test]
fn ninety_nine_without_and_not_one_more() {
    for (count, good) in [(99, true), (100, false)] {
        let (mut peer, mut sequence) = exchange();
        sequence.check(&peer.sign(&envelope(0), NOW), NOW).unwrap();
        let mut checks = (0..count).map(|_| sequence.check(&peer.skip(&envelope(1)), NOW));
        let fault = checks.find_map(Result::err);
        assert_eq!(fault, (!good).then_some(Fault::UnsignedTooLong));
        if good {
            sequence.check(&peer.sign(&envelope(2), NOW), NOW).unwrap();
            assert_eq!(sequence.finish(), Ok(()));
        }
    }
    let (_, mut sequence) = exchange();
    assert_eq!(sequence.check(&envelope(0), NOW), Err(Fault::Unsigned));
}

#[test]
fn every_changed_octet_is_seen() {
    let (mut peer, mut sequence) = exchange();
    let [one, two] = [0, 1].map(|n| peer.sign(&envelope(n), NOW));
    let [three, four] = [peer.skip(&envelope(2)), peer.sign(&envelope(3), NOW)];
    let whole = [one, two, three, four];
    assert!(whole.iter().all(|message| sequence.check(message, NOW).is_ok()));
    let (fresh, key) = (exchange, key(Algorithm::Sha256));
    for position in 0..whole.len() {
        for at in 0..whole[position].len() {
            for bit in [1, 0x20, 0x80] {
                let mut changed = whole.clone();
                changed[position][at] ^= bit;
                let (_, mut sequence) = fresh();
                let mut results = changed.iter().map(|m| sequence.check(m, NOW));
                let seen = results.any(|result| result.is_err()) || sequence.finish().is_err();
                // the id is what the signer wrote into the record, and names have no case
                let free =
                    at < 2 && position != 2 || bit == 0x20 && is_letter(&whole[position], at);
                assert_eq!(!seen, free, "octet {at} of message {position}, bit {bit}");
            }
        }
    }
    let mut request = query();
    sign_request(&mut request, &key, NOW);
    for at in 2..request.len() {
        let mut changed = request.clone();
        changed[at] ^= 1;
        assert!(check_request(&changed, &key, NOW).is_err(), "octet {at}");
    }
}

/// A letter of the key's or the algorithm's name in a TSIG record.
fn is_letter(message: &[u8], at: usize) -> bool {
    let Some(tsig) = message.windows(9).position(|w| w == b"\x03KEY\x04test") else { return false };
    let algorithm = tsig + 20;
    let within = (tsig..tsig + 10).contains(&at) || (algorithm..algorithm + 13).contains(&at);
    within && message[at].is_ascii_alphabetic()
}

#[test]
fn positions_cannot_be_swapped_or_repeated() {
    let signed = || {
        let (mut peer, sequence) = exchange();
        ([0, 1, 2].map(|n| peer.sign(&envelope(n), NOW)), sequence)
    };
    for order in [[0, 2, 1], [0, 0, 1], [1, 0, 2], [0, 1, 1]] {
        let (messages, mut sequence) = signed();
        let mut results = order.iter().map(|&i| sequence.check(&messages[i], NOW));
        assert!(results.any(|result| result == Err(Fault::BadSig)), "{order:?}");
    }
    // the answer to another request
    let (messages, _) = signed();
    let key = Arc::new(key(Algorithm::Sha256));
    let mac = sign_request(&mut query(), &key, NOW + 1);
    assert_eq!(Sequence::new(key, mac).check(&messages[0], NOW), Err(Fault::BadSig));
}

#[test]
fn clocks_that_differ_are_shown() {
    for (signed, good) in [(NOW - 300, true), (NOW + 300, true), (NOW - 301, false)] {
        let (mut peer, mut sequence) = exchange();
        assert_eq!(sequence.check(&peer.sign(&envelope(0), signed), NOW).is_ok(), good);
    }
    let (mut peer, mut sequence) = exchange();
    let fault = sequence.check(&peer.sign(&envelope(0), NOW + 7200), NOW).unwrap_err();
    assert_eq!(fault, Fault::BadTime { signed: NOW + 7200, now: NOW, fudge: 300 });
    assert_eq!(
        fault.to_string(),
        "BADTIME: the primary's clock shows 2026-11-22T05:28:36.000Z, ours \
         2026-11-22T03:28:36.000Z: it is 7200 s ahead, more than the 300 s allowed: set the one \
         that is wrong"
    );
}

#[test]
fn other_keys_and_cut_signatures_are_named() {
    let mac = sign_request(&mut query(), &key(Algorithm::Sha256), NOW);
    let check = |message: &[u8]| {
        Sequence::new(Arc::new(key(Algorithm::Sha256)), mac.clone()).check(message, NOW)
    };
    let mut other = envelope(0);
    let name = "other.test".parse().unwrap();
    sign_answer(&mut other, &Key { name, ..key(Algorithm::Sha256) }, NOW, &mac);
    assert_eq!(check(&other), Err(Fault::BadKey("other.test hmac-sha256".to_owned())));
    let mut other = envelope(0);
    sign_answer(&mut other, &key(Algorithm::Sha1), NOW, &mac);
    assert_eq!(check(&other), Err(Fault::BadKey("key.test hmac-sha1".to_owned())));
    let mut other = envelope(0);
    let secret = (1..33).collect();
    sign_answer(&mut other, &Key { secret, ..key(Algorithm::Sha256) }, NOW, &mac);
    assert_eq!(check(&other), Err(Fault::BadSig));
    for (octets, expected) in
        [(0, Err(Fault::BadTrunc(0))), (15, Err(Fault::BadTrunc(15))), (16, Ok(45)), (31, Ok(45))]
    {
        assert_eq!(check(&cut(&mac, octets)), expected, "{octets}");
    }
}

/// A signed answer whose MAC has only so many octets.
fn cut(request: &Mac, octets: usize) -> Vec<u8> {
    let mut message = envelope(0);
    sign_answer(&mut message, &key(Algorithm::Sha256), NOW, request);
    let mac = message.len() - 6 - 32;
    message.drain(mac + octets..mac + 32);
    message[mac - 1] = octets as u8;
    let length = envelope(0).len() + 18;
    message[length + 1] -= 32 - octets as u8;
    message
}

#[test]
fn a_record_out_of_its_place_is_garbled() {
    let (mut peer, _) = exchange();
    let good = peer.sign(&envelope(0), NOW);
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut message = good.clone();
        change(&mut message);
        assert_eq!(exchange().1.check(&message, NOW), Err(Fault::Garbled));
    };
    let tsig = envelope(0).len();
    refused(&|m| m.push(0));
    refused(&|m| m.truncate(m.len() - 1));
    refused(&|m| m.truncate(HEADER - 1));
    // in the authority section, of another class, with a TTL
    refused(&|m| (m[9], m[11]) = (1, 0));
    refused(&|m| m[tsig + 13] = 1);
    refused(&|m| m[tsig + 17] = 1);
    // twice, and in front of another record
    refused(&|m| {
        m[11] += 1;
        m.extend_from_within(tsig..);
    });
    refused(&|m| {
        m[11] += 1;
        m.extend(b"\x00\x00\x10\x00\x01\x00\x00\x00\x00\x00\x00");
    });
    // the MAC longer than any
    refused(&|m| {
        let mac = m.len() - 6 - 32;
        m.insert(mac, 0);
        m[mac - 1] += 1;
        m[tsig + 19] += 1;
    });
}

#[test]
fn faults_of_requests_are_told_the_asker() {
    let ours = key(Algorithm::Sha256);
    let asked = |key: &Key, at: u64| {
        let mut request = query();
        let mac = sign_request(&mut request, key, at);
        let fault = check_request(&request, &ours, NOW).unwrap_err();
        let mut answer = query();
        answer[2] = 0x84;
        answer[3] = fault.rcode() as u8;
        answer_fault(&mut answer, &request, &fault, &ours, NOW);
        let told = Sequence::new(Arc::new(key.clone()), mac).check(&answer, at);
        (fault, told, answer)
    };
    let peer = |fault| Err(Fault::Peer(fault));
    let (fault, told, answer) = asked(&key(Algorithm::Sha1), NOW);
    assert_eq!((fault, told), (RequestFault::BadKey, peer(PeerFault::BadKey)));
    assert_eq!(answer[3], rcode::NOTAUTH as u8);
    let secret = (1..33).collect();
    let (fault, told, _) = asked(&Key { secret, ..ours.clone() }, NOW);
    assert_eq!((fault, told), (RequestFault::BadSig, peer(PeerFault::BadSig)));
    let late = NOW - 301;
    let (fault, told, answer) = asked(&ours, late);
    assert_eq!(fault, RequestFault::BadTime { signed: late, now: NOW });
    assert_eq!(told, peer(PeerFault::BadTime { theirs: Some(NOW), ours: late }));
    // signed with the asker's time and ours behind it: 32 octets of MAC, id, error, 6 octets
    assert_eq!(answer[answer.len() - 10..answer.len() - 6], [0, 18, 0, 6]);
    assert_eq!(answer[answer.len() - 6..], NOW.to_be_bytes()[2..]);
    let mac = answer[answer.len() - 12 - 34..][..2].to_vec();
    assert_eq!(mac, [0, 32]);
    // nothing is said to one that did not sign
    let mut answer = query();
    answer_fault(&mut answer, &query(), &RequestFault::Unsigned, &ours, NOW);
    assert_eq!(answer, query());
    assert_eq!(check_request(&query(), &ours, NOW), Err(RequestFault::Unsigned));
    assert_eq!(
        check_request(&cut(&sign_request(&mut query(), &ours, NOW), 9), &ours, NOW),
        Err(RequestFault::Garbled)
    );
}
