//! TSIG as a scripted server makes it (RFC 8945): written for the tests, apart from the program.

use super::wire::{Message, name_bytes};
use hmac::{Hmac, KeyInit, Mac};

pub const TSIG: u16 = 250;
pub const BADSIG: u16 = 16;
pub const BADKEY: u16 = 17;
pub const BADTIME: u16 = 18;

/// What a key signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub const ALL: [Hash; 5] = [Hash::Md5, Hash::Sha1, Hash::Sha256, Hash::Sha384, Hash::Sha512];

    /// As operators write it.
    pub fn name(self) -> &'static str {
        match self {
            Hash::Md5 => "hmac-md5",
            Hash::Sha1 => "hmac-sha1",
            Hash::Sha256 => "hmac-sha256",
            Hash::Sha384 => "hmac-sha384",
            Hash::Sha512 => "hmac-sha512",
        }
    }

    fn wire(self) -> Vec<u8> {
        match self {
            Hash::Md5 => name_bytes("hmac-md5.sig-alg.reg.int"),
            other => name_bytes(other.name()),
        }
    }
}

/// A key by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub name: String,
    pub hash: Hash,
    pub secret: Vec<u8>,
}

impl Key {
    /// A key whose secret is made of its name.
    pub fn new(name: &str, hash: Hash) -> Key {
        let secret = name.bytes().cycle().take(32).collect();
        Key { name: name.to_owned(), hash, secret }
    }

    /// The secret as configurations have it (RFC 4648 section 4).
    pub fn base64(&self) -> String {
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for three in self.secret.chunks(3) {
            let number = (0..3).fold(0u32, |n, i| n << 8 | u32::from(*three.get(i).unwrap_or(&0)));
            for i in 0..4 {
                let digit = digits[(number >> (18 - 6 * i) & 63) as usize];
                text.push(if i <= three.len() { char::from(digit) } else { '=' });
            }
        }
        text
    }

    fn mac(&self, input: &[u8]) -> Vec<u8> {
        fn of<M: Mac + KeyInit>(secret: &[u8], input: &[u8]) -> Vec<u8> {
            let mut mac = <M as KeyInit>::new_from_slice(secret).expect("any length will do");
            mac.update(input);
            mac.finalize().into_bytes().to_vec()
        }
        match self.hash {
            Hash::Md5 => of::<Hmac<md5::Md5>>(&self.secret, input),
            Hash::Sha1 => of::<Hmac<sha1::Sha1>>(&self.secret, input),
            Hash::Sha256 => of::<Hmac<sha2::Sha256>>(&self.secret, input),
            Hash::Sha384 => of::<Hmac<sha2::Sha384>>(&self.secret, input),
            Hash::Sha512 => of::<Hmac<sha2::Sha512>>(&self.secret, input),
        }
    }
}

/// The fields of a signature that are not computed.
#[derive(Clone, Debug, Default)]
pub struct Stamp {
    /// Seconds since 1970.
    pub time: u64,
    pub error: u16,
    pub other: Vec<u8>,
    /// Octets of the MAC that are sent; `None`: all.
    pub cut: Option<usize>,
}

/// Signatures over the messages of one exchange, in their order.
pub struct Chain {
    key: Key,
    prior: Vec<u8>,
    pending: Vec<u8>,
    first: bool,
}

impl Chain {
    /// For a request: nothing was signed before it.
    pub fn request(key: &Key) -> Chain {
        Chain { key: key.clone(), prior: Vec::new(), pending: Vec::new(), first: true }
    }

    /// For the answer to a request with this MAC.
    pub fn answer(key: &Key, request: &[u8]) -> Chain {
        Chain { prior: request.to_vec(), ..Chain::request(key) }
    }

    /// A message that goes without a signature.
    pub fn skip(&mut self, message: &[u8]) {
        self.pending.extend(message);
    }

    /// The message with its signature.
    pub fn sign(&mut self, message: &[u8], stamp: &Stamp) -> Vec<u8> {
        let mut input = Vec::new();
        if !self.prior.is_empty() {
            input.extend((self.prior.len() as u16).to_be_bytes());
            input.append(&mut self.prior);
        }
        input.append(&mut self.pending);
        input.extend(message);
        input.extend(variables(&self.key, stamp, self.first));
        self.first = false;
        self.prior = self.key.mac(&input);
        if let Some(octets) = stamp.cut {
            self.prior.truncate(octets);
        }
        with_record(message, &self.key.name, self.key.hash, stamp, &self.prior)
    }

    /// The MAC of the last signed message.
    pub fn mac(&self) -> &[u8] {
        &self.prior
    }
}

fn timers(stamp: &Stamp) -> Vec<u8> {
    [&stamp.time.to_be_bytes()[2..], &300u16.to_be_bytes()].concat()
}

fn variables(key: &Key, stamp: &Stamp, all: bool) -> Vec<u8> {
    if !all {
        return timers(stamp);
    }
    let mut out = name_bytes(&key.name.to_lowercase());
    out.extend([0, 255, 0, 0, 0, 0]);
    out.extend(key.hash.wire());
    out.extend(timers(stamp));
    out.extend(stamp.error.to_be_bytes());
    out.extend((stamp.other.len() as u16).to_be_bytes());
    out.extend(&stamp.other);
    out
}

/// The message with a TSIG record behind it that has this MAC.
pub fn with_record(message: &[u8], name: &str, hash: Hash, stamp: &Stamp, mac: &[u8]) -> Vec<u8> {
    let mut data = hash.wire();
    data.extend(timers(stamp));
    data.extend((mac.len() as u16).to_be_bytes());
    data.extend(mac);
    data.extend(&message[..2]);
    data.extend(stamp.error.to_be_bytes());
    data.extend((stamp.other.len() as u16).to_be_bytes());
    data.extend(&stamp.other);
    let mut out = message.to_vec();
    let count = u16::from_be_bytes([out[10], out[11]]) + 1;
    out[10..12].copy_from_slice(&count.to_be_bytes());
    out.extend(name_bytes(name));
    out.extend([0, 250, 0, 255, 0, 0, 0, 0]);
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
    out
}

/// What a signed message says, read from its octets.
#[derive(Clone, Debug)]
pub struct Signature {
    /// The message as it was signed.
    pub message: Vec<u8>,
    pub name: String,
    pub hash: Option<Hash>,
    pub time: u64,
    pub mac: Vec<u8>,
    pub error: u16,
    pub other: Vec<u8>,
}

impl Signature {
    /// `None` if the message carries none.
    pub fn of(bytes: &[u8]) -> Option<Signature> {
        let record = Message::read(bytes).ok()?.additional.pop().filter(|r| r.rtype == TSIG)?;
        let length = name_bytes(&record.name).len() + 10 + record.rdata.len();
        let mut message = bytes[..bytes.len() - length].to_vec();
        let count = u16::from_be_bytes([message[10], message[11]]) - 1;
        message[10..12].copy_from_slice(&count.to_be_bytes());
        let data = &record.rdata;
        let hash = Hash::ALL.into_iter().find(|hash| data.starts_with(&hash.wire()));
        let at = data.iter().position(|&label| label == 0)? + 1;
        let number = |at: usize| usize::from(u16::from_be_bytes([data[at], data[at + 1]]));
        let octets = number(at + 8);
        let behind = at + 10 + octets;
        Some(Signature {
            message,
            name: record.name,
            hash,
            time: data[at..at + 6].iter().fold(0, |n, octet| n << 8 | u64::from(*octet)),
            mac: data[at + 10..behind].to_vec(),
            error: number(behind + 2) as u16,
            other: data[behind + 6..behind + 6 + number(behind + 4)].to_vec(),
        })
    }

    /// The error code of what is wrong with a request, for a server with this key and clock.
    pub fn fault(&self, key: &Key, now: u64) -> Option<u16> {
        if !self.name.eq_ignore_ascii_case(&key.name) || self.hash != Some(key.hash) {
            return Some(BADKEY);
        }
        let stamp = Stamp { time: self.time, ..Stamp::default() };
        if Chain::request(key).sign_only(&self.message, &stamp) != self.mac {
            return Some(BADSIG);
        }
        (self.time.abs_diff(now) > 300).then_some(BADTIME)
    }

    /// It is right for the first answer to a request with this MAC.
    pub fn answers(&self, key: &Key, request: &[u8]) -> bool {
        let (error, other) = (self.error, self.other.clone());
        let stamp = Stamp { time: self.time, error, other, cut: None };
        Chain::answer(key, request).sign_only(&self.message, &stamp) == self.mac
    }
}

impl Chain {
    fn sign_only(mut self, message: &[u8], stamp: &Stamp) -> Vec<u8> {
        self.sign(message, stamp);
        self.prior
    }
}
