//! The text of a zone, one line in memory at a time, whatever its form.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::rpz::{Limits, ZoneError};

/// How much of a file is read at once, in octets.
const READ_SIZE: usize = 256 << 10;
/// What some editors put in front of UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file, or text that came from elsewhere, being read.
pub(super) struct Text<'a> {
    input: Box<dyn BufRead + 'a>,
    /// Its name, as it was given.
    pub(super) path: PathBuf,
    /// The file's one true path, to notice loops; `None` for text that is no file.
    pub(super) real: Option<PathBuf>,
    /// When the file was written, in seconds since 1970; 0 for text that is no file.
    pub(super) modified: u32,
    /// The line that was read last, from 1.
    pub(super) number: u32,
}

impl Text<'static> {
    /// Opens a regular file; the error is the reason alone.
    pub(super) fn open(path: &Path) -> Result<Text<'static>, String> {
        let words = |err: io::Error| match err.kind() {
            io::ErrorKind::NotFound => "no such file".to_owned(),
            io::ErrorKind::PermissionDenied => {
                "permission denied; the file and its folders must be readable for the daemon's user"
                    .to_owned()
            }
            _ => format!("cannot be read: {err}"),
        };
        let kind = fs::metadata(path).map_err(words)?;
        if kind.is_dir() {
            return Err("is a directory, not a zone file".into());
        }
        if !kind.is_file() {
            return Err("is no regular file".into());
        }
        let file = File::open(path).map_err(words)?;
        let real = Some(fs::canonicalize(path).map_err(words)?);
        // a time before 1970 or unknown is 0; one beyond 32 bits goes round, as serials do
        let written = file.metadata().and_then(|data| data.modified()).ok();
        let since = written.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = since.map_or(0, |since| since.as_secs() as u32);
        let input = Box::new(BufReader::with_capacity(READ_SIZE, file));
        Ok(Text { input, path: path.to_owned(), real, modified, number: 0 })
    }
}

impl<'a> Text<'a> {
    /// Takes text from memory; `path` is only its name.
    pub(super) fn given(text: &'a [u8], path: &Path) -> Text<'a> {
        let path = path.to_owned();
        Text { input: Box::new(text), path, real: None, modified: 0, number: 0 }
    }

    /// Reads the next line into `line`, without its line end; false at the end of the text.
    pub(super) fn next(&mut self, line: &mut Vec<u8>, room: &mut Room) -> Result<bool, ZoneError> {
        line.clear();
        // room for a line that is too long by one, and for its line end
        let most = room.max_line as u64 + 3;
        match (&mut self.input).take(most).read_until(b'\n', line) {
            Ok(0) => return Ok(false),
            Ok(count) => room.used += count as u64,
            Err(err) => {
                let reason = format!("cannot be read further: {err}");
                return Err(ZoneError { file: self.path.clone(), line: None, reason });
            }
        }
        self.number = self.number.saturating_add(1);
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if self.number == 1 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        if line.len() > room.max_line {
            let max = room.max_line;
            return Err(self.fail(format!("the line is longer than {max} octets")));
        }
        if room.used > room.max_bytes {
            let max = room.max_bytes;
            let text = "octets of text; raise the zone's limit if that is meant to be";
            return Err(self.fail(format!("the zone has more than {max} {text}")));
        }
        Ok(true)
    }

    /// True if there is nothing behind the line that was read last.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.input.fill_buf().is_ok_and(<[u8]>::is_empty)
    }

    /// The text is no good because of the line that was read last.
    pub(super) fn fail(&self, reason: String) -> ZoneError {
        ZoneError { file: self.path.clone(), line: Some(self.number), reason }
    }
}

/// How much text may still come, over all files of a zone.
pub(super) struct Room {
    max_line: usize,
    max_bytes: u64,
    /// Octets read so far.
    pub(super) used: u64,
}

impl Room {
    /// All of what the limits allow.
    pub(super) fn new(limits: &Limits) -> Room {
        Room { max_line: limits.max_line, max_bytes: limits.max_bytes, used: 0 }
    }
}
