//! Step 4: what is known about a name without asking anyone.

use std::sync::Arc;

use super::forward::{Known, Need, Wanted};
use super::outcome::Outcome;
use super::{Pass, Road};
use crate::cache::{Entry, Failed, Found};
use crate::dns::answer::Answer;
use crate::dns::ede::code;
use crate::dns::question::Question;
use crate::dns::{rcode, rtype};

/// What an upstream says of a question, as far as is known.
pub(super) enum Truth {
    /// An answer.
    Answer {
        /// As it was received.
        entry: Arc<Entry>,
        /// It has outlived its TTL.
        stale: bool,
    },
    /// No answer: the extended error that says why, and the backend's own failure if it gave one.
    Failed(u16, Option<Arc<Answer>>),
}

/// What has to be asked first; `None` if the client does not want anyone to be asked (RD=0).
pub(super) type Lacking = Option<Box<Need>>;

impl Truth {
    /// The answer, unless it is a failure: those are never rewritten.
    pub(super) fn usable(&self) -> Option<&Arc<Entry>> {
        match self {
            Truth::Answer { entry, .. } => {
                (entry.answer.rcode() != rcode::SERVFAIL).then_some(entry)
            }
            Truth::Failed(..) => None,
        }
    }

    /// How a query ends that gets this.
    pub(super) fn outcome(&self, known: &Known) -> Outcome {
        match self {
            Truth::Answer { stale: true, .. } => Outcome::Stale,
            Truth::Answer { .. } if !known.has_asked() => Outcome::Cached,
            Truth::Answer { .. } => Outcome::Forwarded,
            Truth::Failed(..) => Outcome::Failed,
        }
    }
}

impl Road {
    /// Looks up a question of the query's type; ANY as A, and as AAAA if there is no A
    /// (RFC 8482 section 4.1).
    pub(super) fn look_up(&self, pass: Pass<'_>, question: &Question) -> Result<Truth, Lacking> {
        if question.rtype != rtype::ANY {
            return self.look_up_one(pass, question);
        }
        let truth = self.look_up_one(pass, &Question { rtype: rtype::A, ..*question })?;
        match &truth {
            Truth::Answer { entry, .. }
                if entry.answer.negative() && entry.answer.rcode() == rcode::NOERROR =>
            {
                self.look_up_one(pass, &Question { rtype: rtype::AAAA, ..*question })
            }
            _ => Ok(truth),
        }
    }

    pub(super) fn look_up_one(
        &self,
        pass: Pass<'_>,
        question: &Question,
    ) -> Result<Truth, Lacking> {
        let Pass { asked, known, now, .. } = pass;
        let upstream = pass.route(&question.name).upstream;
        let id = upstream.id();
        let fault = match known.get(id, question) {
            Some(Ok(entry)) => {
                return Ok(Truth::Answer { entry: Arc::clone(entry), stale: false });
            }
            Some(Err(code)) => Some(*code),
            None => None,
        };
        let found = self.cache.look_up(id, question, now);
        let stale = |entry| Truth::Answer { entry, stale: true };
        Ok(match (found, fault) {
            (Found::Fresh(entry), _) => Truth::Answer { entry, stale: false },
            (Found::Failed(Failed::Transport(_), Some(entry)), _) => stale(entry),
            (Found::Missing(Some(entry)), Some(_)) => stale(entry),
            (_, Some(code)) => Truth::Failed(code, None),
            (Found::Failed(Failed::Answer(answer), _), _) => {
                Truth::Failed(code::CACHED_ERROR, Some(answer))
            }
            (Found::Failed(Failed::Transport(_), None), _) => {
                Truth::Failed(code::CACHED_ERROR, None)
            }
            (Found::Missing(Some(entry)), None) if known.slow || upstream.all_down() => {
                stale(entry)
            }
            (Found::Missing(_), None) if asked.query.recursion_desired() => {
                let upstream = Arc::clone(upstream);
                return Err(Some(Box::new(Need::Truth(Wanted { upstream, question: *question }))));
            }
            (Found::Missing(_), None) => return Err(None),
        })
    }
}
