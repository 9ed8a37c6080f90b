//! HMAC over what RFC 8945 section 4.3 says a signature covers.

use hmac::{Hmac, KeyInit};
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

use super::super::{HEADER, u16_at};
use super::record::Tsig;
use super::{Algorithm, Key, Mac};

/// A MAC that is being computed.
pub(super) trait Hashing: Send {
    fn add(&mut self, octets: &[u8]);
    fn finish(self: Box<Self>) -> Mac;
    /// True if `mac` is the MAC, or the beginning of it. Takes the same time wherever they
    /// differ. Nobody may call it with fewer octets than the algorithm's shortest MAC.
    fn is(self: Box<Self>, mac: &[u8]) -> bool;
}

impl<M: hmac::Mac + Send> Hashing for M {
    fn add(&mut self, octets: &[u8]) {
        self.update(octets);
    }

    fn finish(self: Box<Self>) -> Mac {
        Mac(self.finalize().into_bytes().as_slice().into())
    }

    fn is(self: Box<Self>, mac: &[u8]) -> bool {
        self.verify_truncated_left(mac).is_ok()
    }
}

/// A signature under this key that is being computed.
pub(super) struct Digest(Box<dyn Hashing>);

impl Digest {
    pub(super) fn new(key: &Key) -> Digest {
        fn start<M: hmac::Mac + KeyInit + Send + 'static>(secret: &[u8]) -> Box<dyn Hashing> {
            Box::new(
                <M as KeyInit>::new_from_slice(secret).expect("HMAC takes secrets of any length"),
            )
        }
        Digest(match key.algorithm {
            Algorithm::Md5 => start::<Hmac<Md5>>(&key.secret),
            Algorithm::Sha1 => start::<Hmac<Sha1>>(&key.secret),
            Algorithm::Sha256 => start::<Hmac<Sha256>>(&key.secret),
            Algorithm::Sha384 => start::<Hmac<Sha384>>(&key.secret),
            Algorithm::Sha512 => start::<Hmac<Sha512>>(&key.secret),
        })
    }

    /// A digest that begins with an earlier MAC: that of the request, or of the last signed
    /// envelope (sections 5.3 and 5.3.1).
    pub(super) fn after(key: &Key, earlier: &[u8]) -> Digest {
        let mut digest = Digest::new(key);
        digest.counted(earlier);
        digest
    }

    /// A whole message without a signature, as it is.
    pub(super) fn octets(&mut self, octets: &[u8]) {
        self.0.add(octets);
    }

    /// A message without the TSIG record that begins at its end, and as if it had never had one:
    /// one additional record less, the id that the signer gave it (section 4.3.2).
    pub(super) fn message(&mut self, message: &[u8], tsig: &Tsig<'_>) {
        let whole = message.get(..tsig.start).unwrap_or(message);
        let (head, rest) = whole.split_at(whole.len().min(HEADER));
        let additional = u16_at(head, HEADER - 2).unwrap_or(0).saturating_sub(1);
        self.0.add(&tsig.id.to_be_bytes());
        self.0.add(head.get(2..HEADER - 2).unwrap_or_default());
        self.0.add(&additional.to_be_bytes());
        self.0.add(rest);
    }

    /// The variables of the TSIG record (section 4.3.3).
    pub(super) fn variables(&mut self, tsig: &Tsig<'_>) {
        self.0.add(tsig.name.as_wire());
        // class ANY, TTL 0
        self.0.add(&[0, 255, 0, 0, 0, 0]);
        self.0.add(tsig.algorithm.as_wire());
        self.timers(tsig);
        self.0.add(&tsig.error.to_be_bytes());
        self.counted(tsig.other);
    }

    /// Of the variables only the times (section 5.3.1).
    pub(super) fn timers(&mut self, tsig: &Tsig<'_>) {
        self.0.add(&tsig.signed_wire());
        self.0.add(&tsig.fudge.to_be_bytes());
    }

    pub(super) fn finish(self) -> Mac {
        self.0.finish()
    }

    pub(super) fn is(self, mac: &[u8]) -> bool {
        self.0.is(mac)
    }

    /// Octets behind their length in 16 bits; nothing in a message is longer.
    fn counted(&mut self, octets: &[u8]) {
        self.0.add(&(octets.len() as u16).to_be_bytes());
        self.0.add(octets);
    }
}
