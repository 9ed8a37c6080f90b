//! Entries for the systemd journal with fields of their own (the native protocol, documented at
//! systemd.io/JOURNAL_NATIVE_PROTOCOL).
//!
//! One datagram is one entry. A journal that reads nothing blocks the sender: only threads that
//! nobody waits for write here.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// Octets of one value that are kept, so that an entry fits into a datagram.
const VALUE_MAX: usize = 32 << 10;

/// A way to the journal. Every write to it is one entry, encoded by [`Entry`].
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// The journal, if systemd has connected our standard error to it (`JOURNAL_STREAM` of
    /// systemd.exec(5)); else lines on standard error are what the operator expects.
    pub fn of_stderr() -> Option<Journal> {
        let stream = std::env::var("JOURNAL_STREAM").ok()?;
        if !is_stream(&stream, io::stderr().as_fd()) {
            return None;
        }
        Journal::at(Path::new(SOCKET)).ok()
    }

    /// The journal that listens on this socket.
    ///
    /// # Errors
    /// Nobody listens there, or a sandbox hides it.
    pub fn at(path: &Path) -> io::Result<Journal> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Journal { socket, path: path.to_owned() })
    }

    /// Sends an entry; waits while the journal reads nothing.
    ///
    /// # Errors
    /// The journal is gone, or the entry is too large.
    pub fn send(&self, entry: &Entry) -> io::Result<()> {
        self.send_octets(&entry.0).map(drop)
    }

    fn send_octets(&self, entry: &[u8]) -> io::Result<usize> {
        use io::ErrorKind::{ConnectionRefused, NotConnected};
        match self.socket.send(entry) {
            // its socket was made anew (systemctl restart systemd-journald.socket)
            Err(e) if matches!(e.kind(), ConnectionRefused | NotConnected) => {
                self.socket.connect(&self.path)?;
                self.socket.send(entry)
            }
            outcome => outcome,
        }
    }
}

impl Write for Journal {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        self.send_octets(entry)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `JOURNAL_STREAM` names the device and inode of the stream, in decimal.
fn is_stream(variable: &str, stderr: BorrowedFd<'_>) -> bool {
    let own = stderr.try_clone_to_owned().map(std::fs::File::from).and_then(|f| f.metadata());
    own.is_ok_and(|own| variable == format!("{}:{}", own.dev(), own.ino()))
}

/// One entry, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry(Vec<u8>);

impl Entry {
    /// An entry with its text and its priority (syslog(3): 3 error, 4 warning, 5 notice, 6 info).
    pub fn new(priority: u8, message: &str) -> Entry {
        let mut entry = Entry(Vec::with_capacity(128 + message.len()));
        entry.field("PRIORITY", &priority.to_string());
        entry.field("SYSLOG_IDENTIFIER", "culvert");
        entry.field("MESSAGE", message);
        entry
    }

    /// Adds a field. `name` has capital letters, digits and underscores only, and begins with a
    /// letter. A value beyond 32 KiB is cut.
    pub fn field(&mut self, name: &str, value: &str) {
        let mut end = value.len().min(VALUE_MAX);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        let value = value.get(..end).unwrap_or_default();
        self.0.extend(name.as_bytes());
        if value.contains('\n') {
            // a value of several lines has its length in front
            self.0.push(b'\n');
            self.0.extend((value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend(value.as_bytes());
        self.0.push(b'\n');
    }

    /// The datagram.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_write_is_one_entry() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let reader = UnixDatagram::bind(&path).unwrap();
        let mut entry = Entry::new(4, "two\nlines");
        entry.field("CULVERT_ZONE", "block.test");
        Journal::at(&path).unwrap().write_all(entry.as_bytes()).unwrap();
        Journal::at(&path).unwrap().send(&Entry::new(6, "one")).unwrap();
        let mut buffer = [0; 512];
        let length = reader.recv(&mut buffer).unwrap();
        let expected = b"PRIORITY=4\nSYSLOG_IDENTIFIER=culvert\nMESSAGE\n\x09\0\0\0\0\0\0\0two\n\
                         lines\nCULVERT_ZONE=block.test\n";
        assert_eq!(&buffer[..length], expected);
        let length = reader.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"PRIORITY=6\nSYSLOG_IDENTIFIER=culvert\nMESSAGE=one\n");
    }

    #[test]
    fn a_journal_whose_socket_is_made_anew_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let before = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path).unwrap();
        drop(before);
        assert!(journal.send(&Entry::new(6, "lost")).is_err());
        std::fs::remove_file(&path).unwrap();
        let after = UnixDatagram::bind(&path).unwrap();
        journal.send(&Entry::new(6, "found")).unwrap();
        let mut buffer = [0; 64];
        let length = after.recv(&mut buffer).unwrap();
        assert!(buffer[..length].ends_with(b"MESSAGE=found\n"));
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let entry = Entry::new(6, &format!("x{}", "é".repeat(VALUE_MAX)));
        assert!(entry.as_bytes().len() < VALUE_MAX + 100);
        assert!(std::str::from_utf8(entry.as_bytes()).is_ok());
    }

    #[test]
    fn the_stream_is_known_by_device_and_inode() {
        let file = tempfile::tempfile().unwrap();
        let meta = file.metadata().unwrap();
        assert!(is_stream(&format!("{}:{}", meta.dev(), meta.ino()), file.as_fd()));
        assert!(!is_stream(&format!("{}:{}", meta.dev(), meta.ino() + 1), file.as_fd()));
        assert!(!is_stream("", file.as_fd()));
    }
}
