//! Octets of an image in and out, with their checksum. Numbers are little-endian.
//!
//! The checksum is CRC-32: it costs next to nothing beside reading the file, and finds every
//! damage of up to 32 bits in a row, such as a flipped octet. Damage on purpose is not its
//! business; the structure is looked at all the same.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Take, Write};
use std::sync::Arc;

use crc32fast::Hasher;

/// What is read and written at a time, in octets.
const CHUNK: usize = 256 << 10;
/// Octets of the checksum at the end.
const CHECKSUM: u64 = 4;

/// What is wrong with an image.
#[derive(Debug)]
pub(super) enum Flaw {
    /// The file cannot be read.
    Io(io::Error),
    /// It ends too early, or says of a part that it is longer than the rest of the file.
    Short,
    /// A part is not as it must be.
    Odd(&'static str),
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Flaw {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Flaw::Short,
            _ => Flaw::Io(error),
        }
    }
}

/// Sums up what goes through.
struct Summed<T> {
    inner: T,
    sum: Hasher,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.sum.update(into.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(octets)?;
        self.sum.update(octets.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Reads an image from its beginning. Nothing is allocated that is longer than what is left of
/// it, whatever it says.
pub(super) struct Reader<R> {
    inner: BufReader<Summed<Take<R>>>,
    /// Octets in front of the checksum that were not read.
    left: u64,
}

impl<R: Read> Reader<R> {
    /// A reader of an image of this many octets.
    pub(super) fn new(inner: R, octets: u64) -> Reader<R> {
        let left = octets.saturating_sub(CHECKSUM);
        let summed = Summed { inner: inner.take(left), sum: Hasher::new() };
        Reader { inner: BufReader::with_capacity(CHUNK, summed), left }
    }

    fn take(&mut self, count: usize) -> Result<(), Flaw> {
        self.left = self.left.checked_sub(count as u64).ok_or(Flaw::Short)?;
        Ok(())
    }

    /// The next octets, as many as the array has.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        self.take(N)?;
        let mut octets = [0; N];
        self.inner.read_exact(&mut octets)?;
        Ok(octets)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Flaw> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Flaw> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Flaw> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Flaw> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of parts of at least `least` octets each.
    pub(super) fn count(&mut self, least: u64) -> Result<usize, Flaw> {
        let count = self.u32()?;
        if u64::from(count) * least > self.left {
            return Err(Flaw::Short);
        }
        usize::try_from(count).map_err(|_| Flaw::Short)
    }

    /// The next `count` octets.
    pub(super) fn octets(&mut self, count: usize) -> Result<Vec<u8>, Flaw> {
        self.take(count)?;
        let mut octets = vec![0; count];
        self.inner.read_exact(&mut octets)?;
        Ok(octets)
    }

    /// The next `count` octets, ready to be shared.
    pub(super) fn shared(&mut self, count: usize) -> Result<Arc<[u8]>, Flaw> {
        // most lie in the buffer as a whole, and need no other one on the way
        if let Some(octets) = self.inner.fill_buf()?.get(..count) {
            let shared = Arc::from(octets);
            self.take(count)?;
            self.inner.consume(count);
            return Ok(shared);
        }
        self.octets(count).map(Arc::from)
    }

    /// Octets behind a length of two.
    pub(super) fn short(&mut self) -> Result<Vec<u8>, Flaw> {
        let count = self.u16()?;
        self.octets(count.into())
    }

    /// Text behind a length of two.
    pub(super) fn text(&mut self) -> Result<String, Flaw> {
        String::from_utf8(self.short()?).map_err(|_| Flaw::Odd("a text is not UTF-8"))
    }

    /// All was read: compares the checksum.
    pub(super) fn finish(self) -> Result<(), Flaw> {
        if self.left > 0 {
            return Err(Flaw::Odd("there is more behind its end"));
        }
        let Summed { inner, sum } = self.inner.into_inner();
        let mut rest = inner.into_inner();
        let mut wanted = [0; CHECKSUM as usize];
        rest.read_exact(&mut wanted)?;
        match u32::from_le_bytes(wanted) == sum.finalize() {
            true => Ok(()),
            false => Err(Flaw::Odd("its checksum does not fit what is in it")),
        }
    }
}

/// Writes an image.
pub(super) struct Writer<W: Write> {
    inner: BufWriter<Summed<W>>,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(inner: W) -> Writer<W> {
        let summed = Summed { inner, sum: Hasher::new() };
        Writer { inner: BufWriter::with_capacity(CHUNK, summed) }
    }

    pub(super) fn put(&mut self, octets: &[u8]) -> io::Result<()> {
        self.inner.write_all(octets)
    }

    /// The number of what comes next.
    pub(super) fn count(&mut self, count: usize) -> io::Result<()> {
        let count = u32::try_from(count).map_err(|_| io::Error::other("too much for an image"))?;
        self.put(&count.to_le_bytes())
    }

    /// Octets behind their length of four.
    pub(super) fn long(&mut self, octets: &[u8]) -> io::Result<()> {
        self.count(octets.len())?;
        self.put(octets)
    }

    /// Octets behind their length of two.
    pub(super) fn short(&mut self, octets: &[u8]) -> io::Result<()> {
        let count = u16::try_from(octets.len());
        let count = count.map_err(|_| io::Error::other("too much for a part of an image"))?;
        self.put(&count.to_le_bytes())?;
        self.put(octets)
    }

    /// Ends the image with its checksum.
    pub(super) fn finish(self) -> io::Result<()> {
        let Summed { mut inner, sum } = self.inner.into_inner().map_err(|e| e.into_error())?;
        inner.write_all(&sum.finalize().to_le_bytes())?;
        inner.flush()
    }
}
