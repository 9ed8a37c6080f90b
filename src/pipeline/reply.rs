//! Step 7: a judgement becomes octets.

use std::sync::Arc;

use super::Asked;
use super::act::Acted;
use super::local::LocalAnswer;
use super::lookup::Truth;
use super::outcome::{Blocked, Outcome};
use super::snapshot::Snapshot;
use crate::cache::Entry;
use crate::clock::Moment;
pub(super) use crate::dns::compose::bare_reply as bare;
use crate::dns::compose::{Composer, Given, ReplyForm, kept_answer};
use crate::dns::ede::{Ede, code};
use crate::dns::name::Name;
use crate::dns::record::Section;
use crate::dns::{rcode, rtype};
use crate::listener::Transport;
use crate::policy::action::LocalRecord;
use crate::policy::stage::Hit;

/// What the reply to one query is written on.
pub(super) struct Page<'p> {
    snap: &'p Snapshot,
    asked: &'p Asked<'p>,
    form: ReplyForm,
    /// Of this pass.
    now: Moment,
    buf: &'p mut [u8],
}

/// What became of the target of a rule's alias.
#[allow(clippy::large_enum_variant)] // on the stack, for one reply
pub(super) enum Followed<'l> {
    /// An upstream was asked for it.
    Truth(Truth),
    /// It is answered here.
    Local(LocalAnswer<'l>),
    /// The alias itself was asked for.
    No,
}

/// The answer whose alias chain led to a name, and the link that did.
pub(super) type Behind<'e> = Option<(&'e Arc<Entry>, usize)>;

impl<'p> Page<'p> {
    pub(super) fn new(
        snap: &'p Snapshot,
        asked: &'p Asked<'p>,
        now: Moment,
        buf: &'p mut [u8],
    ) -> Page<'p> {
        let form = form(asked, snap.payload);
        Page { snap, asked, form, now, buf }
    }

    /// Octets that any reply to this query fits in.
    pub(super) fn room(asked: &Asked<'_>, payload: u16) -> usize {
        form(asked, payload).limit.max(512)
    }

    /// A code and nothing else.
    pub(super) fn code(&mut self, code: u16, ede: Option<Ede<'_>>) -> usize {
        Composer::reply(self.buf, self.asked.query, self.form, code, ede).finish()
    }

    /// The query led from one look-up to the next.
    pub(super) fn too_many_look_ups(&mut self) -> usize {
        let ede = Ede::new(code::NETWORK_ERROR, "the answer needed too many look-ups");
        self.code(rcode::SERVFAIL, Some(ede))
    }

    /// Hosts and special names.
    pub(super) fn local(&mut self, local: &LocalAnswer<'_>) -> usize {
        let query = self.asked.query;
        let mut out = Composer::reply(self.buf, query, self.form, local.rcode, None);
        local.write(&query.question.name, query.question.rtype, &mut out);
        out.finish()
    }

    /// What the upstream said, untouched by policy.
    pub(super) fn truth(&mut self, truth: &Truth) -> usize {
        let query = self.asked.query;
        match truth {
            Truth::Answer { entry, .. } if truth.usable().is_none() => {
                self.code(rcode::SERVFAIL, entry.answer.ede())
            }
            Truth::Answer { entry, stale } => {
                let given = Given {
                    ttl: entry.ttl(self.now),
                    may_be_authentic: entry.trusted,
                    ede: stale.then(|| stale_ede(entry)),
                };
                kept_answer(self.buf, query, self.form, &entry.answer, given)
            }
            // no policy has looked at what a failure may carry: the code alone, and the backend's
            // own reason, which tells more than that it is a remembered one
            Truth::Failed(ede, Some(answer)) => {
                let code = if answer.rcode() > 0xf { rcode::SERVFAIL } else { answer.rcode() };
                self.code(code, answer.ede().or(Some(failure_ede(*ede))))
            }
            Truth::Failed(ede, None) => self.code(rcode::SERVFAIL, Some(failure_ede(*ede))),
        }
    }

    /// NXDOMAIN or NODATA by policy: the links in front, a SOA that lets clients cache it, the
    /// policy zone's SOA.
    pub(super) fn negative(&mut self, hit: &Hit<'_>, behind: Behind<'_>, code: u16) -> Acted {
        let zone = hit.zone;
        let ttl = zone.rules.soa.minimum.min(zone.settings.max_ttl);
        let with_soa = self.snap.negative_soa;
        let mut out = self.policy_reply(hit, code);
        copy_links(&mut out, behind);
        if with_soa {
            let soa = negative_soa(zone.rules.soa.serial, ttl);
            out.record(Section::Authority, &hit.name, rtype::SOA, ttl, soa.as_ref());
        }
        zone_soa(&mut out, hit);
        let kind = if code == rcode::NXDOMAIN { Blocked::Nxdomain } else { Blocked::Nodata };
        Acted::reply(out.finish(), Outcome::Blocked(kind))
    }

    /// An empty reply with TC: the client shall prove its address over TCP.
    pub(super) fn come_over_tcp(&mut self) -> Acted {
        let query = self.asked.query;
        let out = Composer::reply(self.buf, query, self.form, rcode::NOERROR, None);
        Acted::reply(out.finish_truncated(), Outcome::Blocked(Blocked::TcpOnly))
    }

    /// Records of the rule itself.
    pub(super) fn data<'r>(
        &mut self,
        hit: &Hit<'_>,
        behind: Behind<'_>,
        records: impl Iterator<Item = &'r LocalRecord>,
    ) -> Acted {
        let mut out = self.policy_reply(hit, rcode::NOERROR);
        copy_links(&mut out, behind);
        for record in records {
            let ttl = record.ttl.min(hit.zone.settings.max_ttl);
            own(&mut out, hit, behind, record.rtype, ttl, &record.rdata);
        }
        zone_soa(&mut out, hit);
        Acted::reply(out.finish(), Outcome::Blocked(Blocked::LocalData))
    }

    /// The rule's alias, and what its target resolves to, which no policy touches.
    pub(super) fn garden(
        &mut self,
        hit: &Hit<'_>,
        behind: Behind<'_>,
        (ttl, target): (u32, &Name),
        found: &Followed<'_>,
    ) -> Acted {
        let code = match found {
            Followed::Truth(Truth::Failed(ede, _)) => {
                let len = self.code(rcode::SERVFAIL, Some(failure_ede(*ede)));
                return Acted::reply(len, Outcome::Failed);
            }
            Followed::Truth(Truth::Answer { entry, .. }) => {
                let code = entry.answer.rcode();
                if !matches!(code, rcode::NOERROR | rcode::NXDOMAIN) {
                    // a garden that fails: as BIND, the failure alone
                    return Acted::reply(self.code(code, entry.answer.ede()), Outcome::Failed);
                }
                code
            }
            Followed::Local(local) => local.rcode,
            Followed::No => rcode::NOERROR,
        };
        let (qtype, now) = (self.asked.query.question.rtype, self.now);
        let ttl = ttl.min(hit.zone.settings.max_ttl);
        let mut out = self.policy_reply(hit, code);
        copy_links(&mut out, behind);
        own(&mut out, hit, behind, rtype::CNAME, ttl, target.as_wire());
        match found {
            Followed::Truth(Truth::Answer { entry, .. }) => {
                let shown = entry.ttl(now);
                let plain = |t| !matches!(t, rtype::RRSIG | rtype::NSEC | rtype::NSEC3);
                let wanted = |section| section != Section::Additional;
                let records = entry.answer.records();
                for record in records.filter(|r| wanted(r.section) && plain(r.rtype)) {
                    out.copy_record(entry.answer.message(), &record, shown.shown(record.ttl));
                }
            }
            Followed::Local(local) => local.write(target, qtype, &mut out),
            Followed::Truth(Truth::Failed(..)) | Followed::No => {}
        }
        zone_soa(&mut out, hit);
        Acted::reply(out.finish(), Outcome::Blocked(Blocked::Garden))
    }

    /// The action cannot be built: closed, with the code that BIND gives.
    pub(super) fn cannot_build(&mut self, hit: &Hit<'_>, code: u16) -> Acted {
        let mut out = self.policy_reply(hit, code);
        zone_soa(&mut out, hit);
        Acted::reply(out.finish(), Outcome::Blocked(Blocked::Nxdomain))
    }

    fn policy_reply<'h>(&mut self, hit: &Hit<'h>, code: u16) -> Composer<'_, 'h> {
        let settings = &hit.zone.settings;
        let ede = settings.ede.map(|code| Ede::new(code, &settings.ede_text));
        Composer::reply(self.buf, self.asked.query, self.form, code, ede)
    }
}

fn form(asked: &Asked<'_>, payload: u16) -> ReplyForm {
    match asked.source.transport {
        Transport::Udp => ReplyForm::udp(Some(asked.query), payload),
        Transport::Tcp => ReplyForm::stream(payload),
    }
}

/// Copies the links of the alias chain that lead to the name that was hit.
fn copy_links(out: &mut Composer<'_, '_>, behind: Behind<'_>) {
    let Some((entry, last)) = behind else { return };
    let ttl = entry.ttl(Moment::now());
    for link in 0..=last {
        for record in entry.answer.link_records(link) {
            out.copy_record(entry.answer.message(), &record, ttl.shown(record.ttl));
        }
    }
}

/// A record of policy's own, owned by the name that was hit.
fn own(
    out: &mut Composer<'_, '_>,
    hit: &Hit<'_>,
    behind: Behind<'_>,
    rtype: u16,
    ttl: u32,
    rdata: &[u8],
) {
    match behind {
        None => out.own_record(Section::Answer, rtype, ttl, rdata),
        Some(_) => out.record(Section::Answer, &hit.name, rtype, ttl, rdata),
    }
}

/// The policy zone's SOA in additional, as BIND has it.
fn zone_soa(out: &mut Composer<'_, '_>, hit: &Hit<'_>) {
    let (settings, soa) = (&hit.zone.settings, &hit.zone.rules.soa);
    if settings.add_soa {
        let ttl = soa.ttl.min(soa.minimum);
        out.record(Section::Additional, &settings.name, rtype::SOA, ttl, &soa.rdata);
    }
}

/// A SOA that makes a blocked name's absence cacheable (RFC 2308), on the stack.
fn negative_soa(serial: u32, ttl: u32) -> [u8; 49] {
    const NAMES: &[u8; 29] = b"\x09localhost\x00\x06policy\x09localhost\x00";
    let mut rdata = [0; 49];
    rdata[..29].copy_from_slice(NAMES);
    for (i, n) in [serial, 3600, 600, 86_400, ttl].into_iter().enumerate() {
        rdata[29 + 4 * i..33 + 4 * i].copy_from_slice(&n.to_be_bytes());
    }
    rdata
}

fn stale_ede(entry: &Entry) -> Ede<'static> {
    match entry.answer.rcode() {
        rcode::NXDOMAIN => Ede::new(code::STALE_NXDOMAIN, "stale: the upstream does not answer"),
        _ => Ede::new(code::STALE, "stale: the upstream does not answer"),
    }
}

fn failure_ede(ede: u16) -> Ede<'static> {
    Ede::new(
        ede,
        match ede {
            code::NO_REACHABLE_AUTHORITY => "no backend is up",
            code::NETWORK_ERROR => "the backends did not answer",
            code::CACHED_ERROR => "it failed a moment ago",
            _ => "too many queries were waiting",
        },
    )
}
