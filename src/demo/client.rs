//! A small client: one question over UDP or TCP, and what came back in a few words.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::dns::answer::Answer;
use crate::dns::compose::upstream_query;
use crate::dns::question::Question;
use crate::dns::record::Section;
use crate::dns::{rcode, rtype, text};

/// What came back.
pub(super) struct Reply {
    /// The code unless it is NOERROR, the data of the answer section, the extended error.
    pub(super) words: String,
}

/// Asks over UDP, once.
pub(super) fn ask_once(to: SocketAddr, name: &str, kind: &str, wait: Duration) -> Option<Reply> {
    let question = question(name, kind)?;
    let socket = UdpSocket::bind(SocketAddr::new(to.ip(), 0)).ok()?;
    socket.connect(to).ok()?;
    let id = fastrand::u16(..);
    socket.send(&upstream_query(&question, id, 1232, None)).ok()?;
    let deadline = Instant::now() + wait;
    let mut buf = [0; 4096];
    loop {
        let left = deadline.checked_duration_since(Instant::now())?;
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1)))).ok()?;
        let len = socket.recv(&mut buf).ok()?;
        if buf[..2] == id.to_be_bytes() {
            return in_words(&question, &buf[..len]);
        }
    }
}

/// Asks over TCP.
pub(super) fn ask_tcp(to: SocketAddr, name: &str, kind: &str, wait: Duration) -> Option<Reply> {
    let question = question(name, kind)?;
    let mut stream = TcpStream::connect_timeout(&to, wait).ok()?;
    stream.set_read_timeout(Some(wait)).ok()?;
    let query = upstream_query(&question, fastrand::u16(..), 1232, None);
    let framed = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
    stream.write_all(&framed).ok()?;
    let mut len = [0; 2];
    stream.read_exact(&mut len).ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut message).ok()?;
    in_words(&question, &message)
}

fn question(name: &str, kind: &str) -> Option<Question> {
    Some(Question::plain(name.parse().ok()?, rtype::parse(kind)?))
}

fn in_words(question: &Question, message: &[u8]) -> Option<Reply> {
    let answer = Answer::receive(question, message).ok()?;
    let found: Vec<_> = answer.records().filter(|r| r.section == Section::Answer).collect();
    let mut words = Vec::new();
    match answer.rcode() {
        rcode::NOERROR if answer.truncated() => words.push("TC".to_owned()),
        rcode::NOERROR if found.is_empty() => words.push("NODATA".to_owned()),
        rcode::NOERROR => {}
        code => words.push(rcode::text(code)),
    }
    if found.len() > 3 {
        words.push(format!("{} records", found.len()));
    } else {
        words.extend(found.iter().map(|record| match record.rtype {
            rtype::CNAME => "alias".to_owned(),
            _ => {
                let line = text::record(answer.message(), record, 0);
                line.rsplit(' ').next().unwrap_or_default().to_owned()
            }
        }));
    }
    let mut words = words.join(" ");
    if let Some(ede) = answer.ede() {
        words.push_str(&format!(", EDE {}", ede.code));
    }
    Some(Reply { words })
}
