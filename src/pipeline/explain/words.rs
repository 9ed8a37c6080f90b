//! The verdict in one sentence, and what undoes it.

use std::net::IpAddr;

use super::told::{Rule, Truth, Undo};
use super::{Asking, Won};
use crate::dns::ede::code;
use crate::dns::name::Name;
use crate::dns::{rcode, rtype};
use crate::policy::action::{Action, CnameTarget, LocalData};
use crate::policy::stage::Matched;
use crate::policy::trigger::TriggerKind;

/// How a query ended.
pub(super) struct Ended {
    pub(super) outcome: &'static str,
    /// `None`: no reply.
    pub(super) rcode: Option<u16>,
    pub(super) truncated: bool,
    pub(super) answer: Vec<String>,
}

impl Ended {
    /// No reply.
    pub(super) fn silent(outcome: &'static str) -> Ended {
        Ended { outcome, rcode: None, truncated: false, answer: Vec::new() }
    }
}

/// All that a sentence needs.
pub(super) struct Said<'s> {
    pub(super) asking: &'s Asking,
    pub(super) client: IpAddr,
    pub(super) ended: &'s Ended,
    pub(super) rule: Option<&'s Rule>,
    pub(super) won: Option<&'s Won>,
    /// The zone that the answer waits for.
    pub(super) awaited: Option<&'s Name>,
    /// The name of the chain that was judged last.
    pub(super) link: usize,
    pub(super) truth: Option<&'s Truth>,
    /// The client is not in the access list.
    pub(super) outside: bool,
    /// The client has zones of its own.
    pub(super) in_group: bool,
    /// There is no relay.
    pub(super) offline: bool,
}

/// Why an upstream gave no answer, by the extended error.
pub(super) fn failure(ede: u16) -> &'static str {
    match ede {
        code::NO_REACHABLE_AUTHORITY => "no backend of it is up",
        code::NETWORK_ERROR => "tries failed, or took too long",
        code::CACHED_ERROR => "it failed a moment ago",
        _ => "too many questions were waiting",
    }
}

impl Said<'_> {
    /// What the client gets, and why.
    pub(super) fn sentence(&self) -> String {
        let Said { asking, client, ended, .. } = self;
        let code = ended.rcode.map_or("no reply".to_owned(), rcode::text);
        let by = self.by();
        let what = match ended.outcome {
            "blocked" if ended.rcode == Some(rcode::NOERROR) => format!("is blocked: NODATA{by}"),
            "blocked" => format!("is blocked: {code}{by}"),
            "dropped" => format!("is blocked: no reply at all{by}"),
            "tcp-only" => format!("gets an empty reply that sends it to TCP{by}"),
            "data" => format!("gets the rule's own data{by}"),
            "garden" => match self.garden() {
                Some(target) if self.offline => format!("is sent to {target}{by}"),
                Some(target) => format!("is sent to {target}: {code}{by}"),
                None => format!("is sent elsewhere: {code}{by}"),
            },
            "allowed" if self.offline => format!("is let through{by}"),
            "allowed" => format!("is let through: {code}{}{by}", self.from()),
            "local" => format!("is answered here: {code}{}", self.from()),
            "not-ready" => format!("fails: {code}{}", self.awaited()),
            "failed" => format!("fails: {code}{}{by}", self.from()),
            "refused" if self.outside => format!("is refused: {code}, the client is not allowed"),
            "refused" if !asking.recursion_desired => {
                format!("is refused: {code}, nothing is at hand and RD=0 forbids to ask")
            }
            "refused" => format!("is refused: {code}, such queries are not served"),
            _ if self.offline => "is clean: no rule acts".to_owned(),
            _ => format!("is clean: {code}{}", self.from()),
        };
        format!("{} {} for {client} {what}", asking.name, rtype::text(asking.rtype))
    }

    /// Which rule did it, and where it matched.
    fn by(&self) -> String {
        let (Some(rule), Some(won)) = (self.rule, self.won) else { return String::new() };
        if let Some(exception) = &rule.exception {
            return format!(", by exception {}{}", exception.id, self.at(won));
        }
        format!(", by rule {} of zone {}{}", rule.owner, rule.zone, self.at(won))
    }

    fn at(&self, won: &Won) -> String {
        let mut at = Vec::new();
        if self.link > 0 {
            at.push(format!("at its alias {}", won.name));
        }
        match (&won.matched, won.trigger) {
            (Matched::Server(server, _), _) => at.push(format!("name server {server}")),
            (Matched::Address(address, _), TriggerKind::Nsip) => {
                at.push(format!("name server at {address}"));
            }
            (Matched::Address(address, _), TriggerKind::Ip) => {
                at.push(format!("address {address}"))
            }
            _ => {}
        }
        if at.is_empty() { String::new() } else { format!(" ({})", at.join(", ")) }
    }

    /// Where an answer came from.
    fn from(&self) -> String {
        let Some(truth) = self.truth else { return String::new() };
        let upstream = truth.upstream.as_deref().unwrap_or_default();
        let left = truth.ttl_left.unwrap_or(0);
        let section = truth.section.unwrap_or_default();
        match (truth.source, truth.failure) {
            ("upstream", _) => format!(", from upstream {upstream}"),
            ("cache", _) => format!(", from the cache ({upstream}, {left} s left)"),
            ("stale", _) => format!(", a stale answer of upstream {upstream}"),
            (_, Some(failure)) => format!(", upstream {upstream}: {failure}"),
            _ => format!(", by {section}"),
        }
    }

    /// Which zone is awaited.
    fn awaited(&self) -> String {
        let Some(zone) = self.awaited else { return String::new() };
        format!(", zone {zone} was never loaded, and queries wait for it")
    }

    /// Where the rule's alias leads.
    fn garden(&self) -> Option<Name> {
        let won = self.won?;
        match won.zone.data(won.action).and_then(LocalData::cname)? {
            CnameTarget::Literal(name) => Some(*name),
            CnameTarget::Wildcard(garden) => won.name.join(garden).ok(),
        }
    }

    /// The one thing to do about it; nothing where there is no relay to tell.
    pub(super) fn undo(&self) -> Option<Undo> {
        if self.offline {
            return None;
        }
        let lets_through = |won: &Won| matches!(won.action, Action::Passthru);
        let failed = self.ended.outcome == "failed";
        if let Some(zone) = self.awaited {
            return Some(Undo::Command(format!("culvert zone refresh {}", shell_word(zone))));
        }
        match (self.rule, self.won) {
            // the garden failed, not the name
            (_, Some(won)) if failed && !matches!(won.action, Action::Data(_)) => {
                Some(Undo::Command("culvert probe".to_owned()))
            }
            (Some(rule), Some(won)) => Some(Undo::Command(match &rule.exception {
                Some(exception) => format!("culvert exceptions remove {}", exception.id),
                None => self.by_hand(won, if lets_through(won) { "block" } else { "allow" }),
            })),
            _ if failed => Some(Undo::Command("culvert probe".to_owned())),
            _ if self.outside => Some(Undo::Configuration("server.allow".to_owned())),
            _ if self.ended.outcome == "local" => {
                Some(Undo::Configuration(self.truth?.section?.to_owned()))
            }
            _ => None,
        }
    }

    /// An exception for the name that was asked for.
    fn by_hand(&self, won: &Won, command: &str) -> String {
        let name = shell_word(&self.asking.name);
        let only = self.in_group || won.trigger == TriggerKind::ClientIp;
        let client = if only { format!(" --client {}", self.client) } else { String::new() };
        format!("culvert {command} {name}{client} --reason \"...\"")
    }
}

/// A name as one word of a shell's line, which no command takes for an option, or for the `*` that
/// stands for all names.
fn shell_word(name: &Name) -> String {
    let mut text = name.to_string();
    if text == "*" {
        text = "\\042".to_owned();
    }
    if let Some(rest) = text.strip_prefix('-') {
        text = format!("\\045{rest}");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_of_a_shell() {
        for (name, word) in [
            ("www.bad.example", "www.bad.example"),
            ("*.bad.example", "'*.bad.example'"),
            ("a\\$b.example", "'a\\$b.example'"),
            ("it's.example", "'it'\\''s.example'"),
            ("-rf.example", "'\\045rf.example'"),
            ("*", "'\\042'"),
            (".", "."),
        ] {
            let name: Name = name.parse().unwrap();
            let said = shell_word(&name);
            assert_eq!(said, word);
            let plain = said.trim_matches('\'').replace("'\\''", "'");
            assert_eq!(plain.parse::<Name>().unwrap(), name);
        }
    }
}
