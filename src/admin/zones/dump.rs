//! A zone's text over the control socket: one JSON line, then the text, then a line that says how
//! long it was, so that a dump that was cut off is not taken for a whole one.
//!
//! ```text
//!   ZoneText ─ thread of its own ─► queue of a few pieces ─► socket ─► reader: file or stdout
//!                                  full: the thread waits
//! ```

use std::io::{self, Write};
use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::{Request, control};
use super::ZoneText;
use crate::limits;
use crate::sys;

/// The last line: a comment of the master file, which no reader of zones minds.
const MARK: &str = "; end of the zone's text: ";
/// Octets of the longest last line.
const MARK_MAX: usize = 64;
/// Octets of the JSON line.
const HEAD_MAX: u64 = 64 << 10;
/// Octets that are read at a time.
const BUFFER: usize = 64 << 10;

fn mark(octets: u64) -> String {
    format!("{MARK}{octets} octets\n")
}

/// The relay's side: sends what comes behind the JSON line.
pub(in crate::admin) async fn send(stream: &mut UnixStream, text: ZoneText) -> io::Result<()> {
    let mut pieces = produce(text)?;
    let mut octets = 0;
    while let Some(piece) = pieces.recv().await {
        let last = piece.is_none();
        let piece = piece.unwrap_or_else(|| mark(octets).into_bytes());
        // a reader that takes nothing for so long is gone
        timeout(limits::CONTROL_DEADLINE, stream.write_all(&piece)).await??;
        octets += piece.len() as u64;
        if last {
            break;
        }
    }
    Ok(())
}

/// Makes the text on a thread of its own. `None` ends it; without that it is not whole.
fn produce(text: ZoneText) -> io::Result<mpsc::Receiver<Option<Vec<u8>>>> {
    let (sender, receiver) = mpsc::channel(limits::DUMP_PIECES);
    std::thread::Builder::new().name("dump".to_owned()).spawn(move || {
        sys::lower_priority();
        let pieces = text.map(Some).chain(std::iter::once(None));
        for piece in pieces {
            if sender.blocking_send(piece).is_err() {
                // the reader is gone
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// Why a dump came to nothing.
#[derive(Debug)]
pub enum Failure {
    /// The relay's reason, or the connection's.
    Relay(String),
    /// What the text is written to does not take it.
    Output(io::Error),
}

/// The client's side: writes a zone's text to `out`, and gives its octets. If it was cut off, part
/// of it has been written.
pub async fn receive(path: &Path, zone: &str, out: &mut dyn Write) -> Result<u64, Failure> {
    let request = Request::ZoneDump { zone: zone.to_owned() };
    let stream = timeout(limits::CONTROL_DEADLINE, control::send(path, &request)).await;
    let silent = || Failure::Relay(format!("{}: the relay fell silent", path.display()));
    let broken = |e: io::Error| Failure::Relay(format!("{}: {e}", path.display()));
    let mut stream = BufReader::new(stream.map_err(|_| silent())?.map_err(Failure::Relay)?);
    let mut head = String::new();
    let mut line = (&mut stream).take(HEAD_MAX);
    let reading = timeout(limits::CONTROL_DEADLINE, line.read_line(&mut head));
    reading.await.map_err(|_| silent())?.map_err(broken)?;
    let head: Value = serde_json::from_str(&head)
        .map_err(|_| Failure::Relay("the relay's reply cannot be read".to_owned()))?;
    if let Some(error) = head["error"].as_str() {
        return Err(Failure::Relay(error.to_owned()));
    }
    let mut end = End::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        let reading = timeout(limits::CONTROL_DEADLINE, stream.read(&mut buffer));
        let length = reading.await.map_err(|_| silent())?.map_err(broken)?;
        let Some(piece) = buffer.get(..length).filter(|piece| !piece.is_empty()) else { break };
        end.write(piece, out).map_err(Failure::Output)?;
    }
    let octets = end.close(out).map_err(Failure::Output)?;
    octets.ok_or_else(|| Failure::Relay("the text was cut off; ask once more".to_owned()))
}

/// Holds back the end of a text, where the last line may be.
#[derive(Default)]
struct End {
    held: Vec<u8>,
    written: u64,
}

impl End {
    fn write(&mut self, piece: &[u8], out: &mut dyn Write) -> io::Result<()> {
        self.held.extend_from_slice(piece);
        let ready = self.held.len().saturating_sub(MARK_MAX);
        self.pass(ready, out)
    }

    fn pass(&mut self, octets: usize, out: &mut dyn Write) -> io::Result<()> {
        if let Some(ready) = self.held.get(..octets) {
            out.write_all(ready)?;
            self.held.drain(..octets);
            self.written += octets as u64;
        }
        Ok(())
    }

    /// Writes what is left but the last line. `None`: that one is not there, or names another
    /// length.
    fn close(mut self, out: &mut dyn Write) -> io::Result<Option<u64>> {
        let line = self.held.strip_suffix(b"\n").map(|rest| {
            rest.iter().rposition(|octet| *octet == b'\n').map_or(0, |newline| newline + 1)
        });
        self.pass(line.unwrap_or(self.held.len()), out)?;
        let whole = line.is_some() && self.held == mark(self.written).as_bytes();
        Ok(whole.then_some(self.written))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "{\"ok\":\"the text follows\"}\n";

    /// Sends a reply through a socket; what arrives, and how it ends.
    fn through(head: &str, text: Option<ZoneText>) -> (Vec<u8>, Result<u64, Failure>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::UnixListener::bind(&path).unwrap();
            let serving = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut line = String::new();
                BufReader::new(&mut stream).read_line(&mut line).await.unwrap();
                assert_eq!(line, "{\"command\":\"zone-dump\",\"zone\":\"a.example\"}\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                if let Some(text) = text {
                    send(&mut stream, text).await.unwrap();
                }
            };
            let mut out = Vec::new();
            let ((), outcome) = tokio::join!(serving, receive(&path, "a.example", &mut out));
            (out, outcome)
        })
    }

    fn pieces(count: usize, size: usize) -> ZoneText {
        let line = move |n: usize| [&vec![b'a' + (n % 26) as u8; size][..], b"\n"].concat();
        Box::new((0..count).map(line))
    }

    #[test]
    fn a_text_arrives_whole() {
        for (count, size) in [(0, 0), (1, 0), (1, 5), (3, 30), (1000, 7), (40, 70_000)] {
            let (out, outcome) = through(GOOD, Some(pieces(count, size)));
            assert_eq!(out, pieces(count, size).flatten().collect::<Vec<u8>>(), "{count} {size}");
            assert_eq!(outcome.unwrap(), (count * (size + 1)) as u64);
        }
    }

    #[test]
    fn a_text_that_is_cut_off_is_told() {
        let ends = (0..3).map(|n| if n < 2 { b"a A 192.0.2.1\n".to_vec() } else { panic!("cut") });
        let (out, outcome) = through(GOOD, Some(Box::new(ends)));
        assert!(b"a A 192.0.2.1\na A 192.0.2.1\n".starts_with(&out), "{out:?}");
        assert!(matches!(outcome, Err(Failure::Relay(text)) if text.contains("cut off")));
        // a line that only looks like the last one
        for last in
            ["; end of the zone's text: 5 octets\n", "; end of the zone's text: 0 octets", ""]
        {
            let mut end = End::default();
            let mut out = Vec::new();
            end.write(last.as_bytes(), &mut out).unwrap();
            assert_eq!(end.close(&mut out).unwrap(), None, "{last}");
        }
    }

    #[test]
    fn a_reason_is_passed_on_and_nothing_written() {
        let (out, outcome) = through("{\"error\":\"no such zone\"}\n", None);
        assert!(out.is_empty());
        assert!(matches!(outcome, Err(Failure::Relay(text)) if text == "no such zone"));
    }
}
