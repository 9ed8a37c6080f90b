//! The body of an answer: how fast it must come, how it is packed, and how much it may be.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use flate2::write::MultiGzDecoder;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::{Bounds, Fault};

/// How a body is packed for its way (RFC 9110 section 8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
}

impl Packing {
    /// By the field Content-Encoding; another packing than the one that was asked for is a fault.
    pub(super) fn of(fields: &HeaderMap) -> Result<Packing, Fault> {
        let mut packings = fields.get_all(header::CONTENT_ENCODING).iter();
        let (first, second) = (packings.next(), packings.next());
        let word = first.map_or("identity", |value| value.to_str().unwrap_or_default().trim());
        match word.to_ascii_lowercase().as_str() {
            _ if second.is_some() => Err(Fault::Packing),
            "identity" => Ok(Packing::Plain),
            "gzip" | "x-gzip" => Ok(Packing::Gzip),
            _ => Err(Fault::Packing),
        }
    }
}

/// Reads a body to its end: at most `max_bytes` octets, packed and unpacked alike.
pub(super) async fn read(
    mut body: Incoming,
    packing: Packing,
    max_bytes: u64,
    bounds: &Bounds,
) -> Result<Vec<u8>, Fault> {
    // what says itself that it is too much need not come
    if body.size_hint().lower() > max_bytes {
        return Err(Fault::TooLarge(max_bytes));
    }
    let mut text = Unpacked::new(packing, max_bytes);
    let mut pace = Pace::new(Instant::now(), bounds.window, bounds.window_octets);
    loop {
        let frame = timeout(bounds.stall, body.frame()).await;
        let Some(frame) = frame.map_err(|_| Fault::Stalled(bounds.stall))? else { break };
        // trailers are of no use here
        let Ok(octets) = frame.map_err(|error| cut(&error))?.into_data() else { continue };
        pace.arrived(octets.len() as u64, Instant::now())?;
        text.take(&octets)?;
    }
    text.finish()
}

fn cut(error: &hyper::Error) -> Fault {
    // the library's own words say little more than that
    match error.is_parse() {
        true => Fault::Http(error.to_string()),
        false => Fault::Cut,
    }
}

/// Watches that a body comes fast enough. Pure.
struct Pace {
    window: Duration,
    wanted: u64,
    since: Instant,
    octets: u64,
}

impl Pace {
    fn new(now: Instant, window: Duration, wanted: u64) -> Pace {
        Pace { window, wanted, since: now, octets: 0 }
    }

    fn arrived(&mut self, octets: u64, now: Instant) -> Result<(), Fault> {
        self.octets = self.octets.saturating_add(octets);
        if now.saturating_duration_since(self.since) < self.window {
            return Ok(());
        }
        if self.octets < self.wanted {
            return Err(Fault::TooSlow(self.octets, self.window));
        }
        (self.since, self.octets) = (now, 0);
        Ok(())
    }
}

/// The octets of a body as they become text.
enum Unpacked {
    Plain(Shelf),
    Gzip(Box<MultiGzDecoder<Shelf>>),
}

impl Unpacked {
    fn new(packing: Packing, max_bytes: u64) -> Unpacked {
        let shelf = Shelf { text: Vec::new(), max_bytes, is_full: false };
        match packing {
            Packing::Plain => Unpacked::Plain(shelf),
            Packing::Gzip => Unpacked::Gzip(Box::new(MultiGzDecoder::new(shelf))),
        }
    }

    /// Takes the next octets. After an error there is no more use for it.
    fn take(&mut self, octets: &[u8]) -> Result<(), Fault> {
        let taken = match self {
            Unpacked::Plain(shelf) => shelf.write_all(octets),
            Unpacked::Gzip(decoder) => decoder.write_all(octets),
        };
        taken.map_err(|_| self.fault())
    }

    fn finish(mut self) -> Result<Vec<u8>, Fault> {
        if let Unpacked::Gzip(decoder) = &mut self
            && decoder.try_finish().is_err()
        {
            return Err(self.fault());
        }
        let text = std::mem::take(&mut self.shelf().text);
        if text.is_empty() { Err(Fault::Empty) } else { Ok(text) }
    }

    fn fault(&mut self) -> Fault {
        let Shelf { is_full, max_bytes, .. } = *self.shelf();
        if is_full { Fault::TooLarge(max_bytes) } else { Fault::Garbled }
    }

    fn shelf(&mut self) -> &mut Shelf {
        match self {
            Unpacked::Plain(shelf) => shelf,
            Unpacked::Gzip(decoder) => decoder.get_mut(),
        }
    }
}

/// Text that takes no more than so many octets.
struct Shelf {
    text: Vec<u8>,
    max_bytes: u64,
    is_full: bool,
}

impl Write for Shelf {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if (self.text.len() + octets.len()) as u64 > self.max_bytes {
            self.is_full = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.text.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn unpack(octets: &[u8], at_once: usize, max_bytes: u64) -> Result<Vec<u8>, Fault> {
        let mut text = Unpacked::new(Packing::Gzip, max_bytes);
        octets.chunks(at_once).try_for_each(|part| text.take(part))?;
        text.finish()
    }

    #[test]
    fn gzip_is_unpacked_however_it_is_cut_into_pieces() {
        let text = b"bad.example\nworse.example\n".repeat(100);
        let max = text.len() as u64;
        for at_once in [1, 7, 4096] {
            assert_eq!(unpack(&packed(&text), at_once, max).unwrap(), text);
        }
        let two = [packed(b"one\n"), packed(b"two\n")].concat();
        assert_eq!(unpack(&two, 5, 8).unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn a_bomb_ends_at_the_limit() {
        let bomb = packed(&vec![b'x'; 32 << 20]);
        assert!(bomb.len() < 64 << 10);
        assert_eq!(unpack(&bomb, bomb.len(), 1 << 20), Err(Fault::TooLarge(1 << 20)));
        let mut text = Unpacked::new(Packing::Gzip, 1 << 20);
        assert!(text.take(&bomb).is_err() && text.shelf().text.len() <= 1 << 20);
    }

    #[test]
    fn damaged_gzip_is_no_list() {
        let whole = packed(&b"bad.example\n".repeat(50));
        for cut in [1, 5, 12, whole.len() - 9, whole.len() - 1] {
            assert_eq!(unpack(&whole[..cut], 64, 1 << 20), Err(Fault::Garbled), "{cut}");
        }
        let mut flipped = whole.clone();
        let last = flipped.len() - 6;
        flipped[last] ^= 1;
        assert_eq!(unpack(&flipped, 64, 1 << 20), Err(Fault::Garbled));
        assert_eq!(unpack(b"bad.example\n", 64, 1 << 20), Err(Fault::Garbled));
        let trailed = [&whole[..], b"garbage"].concat();
        assert_eq!(unpack(&trailed, 64, 1 << 20), Err(Fault::Garbled));
        assert_eq!(unpack(&packed(b""), 64, 1 << 20), Err(Fault::Empty));
        assert_eq!(unpack(b"", 64, 1 << 20), Err(Fault::Garbled));
    }

    #[test]
    fn what_comes_too_slowly_is_given_up_and_an_early_burst_buys_nothing() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(start, Duration::from_secs(10), 100);
        assert_eq!(pace.arrived(1_000_000, at(1)), Ok(()));
        assert_eq!(pace.arrived(1, at(10)), Ok(()), "a new span begins");
        assert_eq!(pace.arrived(50, at(15)), Ok(()));
        let slow = Fault::TooSlow(99, Duration::from_secs(10));
        assert_eq!(pace.arrived(49, at(20)), Err(slow));
    }

    #[test]
    fn only_gzip_was_asked_for() {
        let fields = |values: &[&'static str]| {
            let values = values.iter().map(|v| http::HeaderValue::from_static(v));
            values.map(|value| (header::CONTENT_ENCODING, value)).collect::<HeaderMap>()
        };
        assert_eq!(Packing::of(&fields(&[])), Ok(Packing::Plain));
        assert_eq!(Packing::of(&fields(&["identity"])), Ok(Packing::Plain));
        assert_eq!(Packing::of(&fields(&["GZIP"])), Ok(Packing::Gzip));
        assert_eq!(Packing::of(&fields(&["br"])), Err(Fault::Packing));
        assert_eq!(Packing::of(&fields(&["gzip, gzip"])), Err(Fault::Packing));
        let mut twice = fields(&["gzip"]);
        twice.append(header::CONTENT_ENCODING, http::HeaderValue::from_static("gzip"));
        assert_eq!(Packing::of(&twice), Err(Fault::Packing));
    }
}
