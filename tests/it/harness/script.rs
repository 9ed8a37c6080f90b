//! What a scripted backend does with a request.

use super::wire::{Message, QR, Record, TC};
use std::sync::Arc;
use std::time::Duration;

/// One request as a script sees it.
pub struct Asked<'a> {
    /// The query itself.
    pub query: &'a Message,
    /// What an honest resolver would answer.
    pub answer: Message,
}

type Make = dyn Fn(Asked) -> Vec<u8> + Send + Sync;

/// What happens to a request. `Answer` is the honest one.
#[derive(Clone)]
pub enum Script {
    /// The right answer.
    Answer,
    /// 200 with the octets that the function makes.
    Body(Arc<Make>),
    /// The right answer with header fields added to the response.
    Headers(Vec<(&'static str, String)>),
    /// The right answer under this content type, or under none.
    ContentType(Option<&'static str>),
    /// This HTTP status, these header fields, and a text that is no DNS message.
    Status(u16, Vec<(&'static str, String)>),
    /// The first octets of the right answer, then a regular end.
    CutBody(usize),
    /// As many octets, beginning with the right answer.
    BigBody(usize),
    /// Octets until the other side resets the stream.
    EndlessBody,
    /// The right answer, an octet each 200 ms.
    SlowDrip,
    /// The right answer, but late.
    Delay(Duration),
    /// Nothing, for ever.
    Hang,
    /// RST_STREAM with this reason.
    Reset(h2::Reason),
    /// The script for each n-th request, the right answer for the others.
    Every(usize, Box<Script>),
}

impl Script {
    /// 200 with the right answer, changed.
    pub fn changed(change: impl Fn(&mut Message) + Send + Sync + 'static) -> Script {
        Script::Body(Arc::new(move |mut asked| {
            change(&mut asked.answer);
            asked.answer.bytes()
        }))
    }

    /// An answer without records and with this rcode.
    pub fn rcode(code: u16) -> Script {
        Script::changed(move |m| {
            m.flags = m.flags & !15 | code;
            m.answers.clear();
            m.authority.clear();
        })
    }

    pub fn servfail() -> Script {
        Script::rcode(2)
    }

    /// The right answer to a question that nobody asked.
    pub fn wrong_question() -> Script {
        Script::changed(|m| {
            if let Some((name, ..)) = &mut m.question {
                *name = "somebody.example.org".into();
            }
            m.answers = vec![Record::a("somebody.example.org", 300, "192.0.2.66")];
        })
    }

    /// The answer says that it is cut.
    pub fn truncated() -> Script {
        Script::changed(|m| {
            m.flags |= TC;
            m.answers.clear();
        })
    }

    /// The message id is not the 0 that RFC 8484 section 4.1 recommends.
    pub fn id_not_zero() -> Script {
        Script::changed(|m| m.id = 0x5A5A)
    }

    /// A query comes back instead of a response.
    pub fn not_a_response() -> Script {
        Script::changed(|m| m.flags &= !QR)
    }

    /// The answer's opcode is UPDATE.
    pub fn other_opcode() -> Script {
        Script::changed(|m| m.flags |= 5 << 11)
    }

    /// The answer has no question section.
    pub fn no_question() -> Script {
        Script::changed(|m| m.question = None)
    }

    /// A plain status without header fields of its own.
    pub fn status(code: u16) -> Script {
        Script::Status(code, Vec::new())
    }
}
