//! `culvert explain`: the request, and the explanation in words.

use std::fmt::Write as _;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::exceptions::time;
use super::render::{counted, list, number, text, wrapped};
use crate::dns::rtype;
use crate::pipeline::explain::Asking;

/// Width of a terminal.
const COLUMNS: usize = 80;
/// Where the second column of a section begins.
const SECOND: usize = 12;

/// What is to be explained, as it was typed.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// Name in text form.
    pub name: String,
    /// Type: a mnemonic, or `TYPE65`.
    pub qtype: String,
    /// Who asks.
    pub client: IpAddr,
    /// Over TCP.
    pub tcp: bool,
    /// With DO.
    pub dnssec_ok: bool,
    /// With RD.
    pub recursion_desired: bool,
}

impl Explain {
    /// The same in the road's terms, or what cannot be read.
    pub fn asking(&self) -> Result<Asking, String> {
        let name = self.name.parse().map_err(|e| format!("{}: {e}", self.name))?;
        let unknown = || {
            let qtype = &self.qtype;
            format!("{qtype}: no record type; write a name such as AAAA, or a number as TYPE65")
        };
        let rtype = rtype::parse(&self.qtype).ok_or_else(unknown)?;
        Ok(Asking {
            name,
            rtype,
            client: self.client,
            tcp: self.tcp,
            dnssec_ok: self.dnssec_ok,
            recursion_desired: self.recursion_desired,
        })
    }
}

/// An explanation in words.
pub fn words(v: &Value) -> String {
    let mut out = String::new();
    wrapped(&mut out, &text(&v["verdict"]["sentence"]));
    undo(&mut out, &v["undo"]);
    rule(&mut out, &v["rule"]);
    query(&mut out, v);
    policy(&mut out, v);
    way(&mut out, v);
    outcome(&mut out, &v["truth"], &v["verdict"]);
    out
}

/// A label and a paragraph beside it, both indented.
fn entry(out: &mut String, label: &str, paragraph: &str) {
    column(out, 2, label, paragraph);
}

/// The same further to the right. A word that is too long stands alone.
fn column(out: &mut String, indent: usize, label: &str, paragraph: &str) {
    let start = indent + SECOND;
    let mut at = start;
    let _ = write!(out, "{:indent$}{label:<SECOND$}", "");
    for (i, word) in paragraph.split(' ').enumerate() {
        let width = word.chars().count();
        if i > 0 && at + 1 + width > COLUMNS {
            let _ = write!(out, "\n{:start$}", "");
            at = start;
        } else if i > 0 {
            out.push(' ');
            at += 1;
        }
        out.push_str(word);
        at += width;
    }
    out.push('\n');
}

fn undo(out: &mut String, undo: &Value) {
    if let Some(command) = undo["command"].as_str() {
        let what = if command == "culvert probe" { "To see why" } else { "To undo it" };
        let _ = writeln!(out, "\n{what}\n  {command}");
    } else if let Some(section) = undo["configuration"].as_str() {
        let _ = writeln!(out, "\nTo undo it\n  {section} in the configuration");
    }
}

fn rule(out: &mut String, rule: &Value) {
    if rule.is_null() {
        return;
    }
    out.push_str("\nThe rule\n");
    let exception = &rule["exception"];
    if !exception.is_null() {
        let until = exception["until"].as_str();
        entry(out, "exception", &text(&exception["id"]));
        entry(out, "for", &text(&rule["owner"]));
        entry(out, "action", &text(&exception["verdict"]));
        entry(out, "by", &text(&exception["owner"]));
        entry(out, "reason", &text(&exception["reason"]));
        entry(out, "since", &time(&text(&exception["since"])));
        entry(out, "until", &until.map_or("it is removed".to_owned(), time));
        return;
    }
    let place = &rule["place"];
    // the sentence names the rule, and most often its line begins with it
    let owner = text(&rule["owner"]);
    let begins = |written: &Value| text(&written["text"]).split(' ').next() == Some(&owner);
    if !list(&place["written"]).iter().any(begins) {
        entry(out, "owner", &owner);
    }
    let by_setting = if rule["overridden"] == true { ", by the zone's own setting" } else { "" };
    entry(out, "action", &format!("{}{by_setting}", text(&rule["action"])));
    entry(out, "zone", &format!("{}, serial {}", text(&rule["zone"]), number(&rule["serial"])));
    for written in list(&place["written"]) {
        entry(out, "file", &format!("{}:{}", text(&written["file"]), number(&written["line"])));
        entry(out, "", &text(&written["text"]));
    }
    if list(&place["written"]).is_empty() && !place["file"].is_null() {
        entry(out, "file", &text(&place["file"]));
    }
    if let Some(source) = place["source"].as_str() {
        entry(out, "source", source);
    }
    if let Some(note) = place["note"].as_str() {
        entry(out, "NOTE", note);
    }
}

fn query(out: &mut String, v: &Value) {
    out.push_str("\nThe query\n");
    let group = match v["policy"]["group"].as_str() {
        Some(group) => format!("group {group}"),
        None => "in no group".to_owned(),
    };
    entry(
        out,
        "client",
        &format!("{}, {group}, over {}", text(&v["client"]), text(&v["transport"])),
    );
    if v["recursion_desired"] != true {
        entry(out, "recursion", "not wanted (RD=0)");
    }
    let dnssec = match (v["dnssec_ok"] == true, v["policy"]["spares_signed"] == true) {
        (false, false) => return,
        (false, true) => "not asked for (DO=0), so signed answers are not exempt",
        (true, true) => "asked for (DO=1): names with signed answers are exempt from policy",
        (true, false) => "asked for (DO=1), but policy acts on signed answers too",
    };
    entry(out, "DNSSEC", dnssec);
}

fn policy(out: &mut String, v: &Value) {
    let policy = &v["policy"];
    match policy["generation"].as_u64() {
        Some(generation) => {
            let _ = writeln!(out, "\nPolicy, generation {generation}");
        }
        None => out.push_str("\nPolicy, from files\n"),
    }
    let suspended = &policy["suspended"];
    if !suspended.is_null() {
        let [until, owner, reason] = ["until", "owner", "reason"].map(|key| text(&suspended[key]));
        let until = time(&until);
        let words = format!("until {until} by {owner} ({reason}): nothing acts, all is logged");
        entry(out, "SUSPENDED", &words);
    } else if policy["mode"] == "monitor" {
        entry(out, "MONITOR", "nothing acts, all is logged");
    }
    let count = number(&policy["exceptions"]);
    if count > 0 {
        entry(out, "first", &format!("exceptions made by hand: {count}"));
    }
    for (zone, place) in list(&policy["zones"]).iter().zip(1..) {
        let skips = zone["recursive_only"] == true;
        let note = match (text(&zone["mode"]).as_str(), skips) {
            ("off", _) => ", off",
            (_, true) => ", leaves RD=0 alone",
            ("monitor", _) => ", only watches",
            _ => "",
        };
        let (serial, rules) = (number(&zone["serial"]), number(&zone["rules"]));
        let rules = counted(rules, "rule");
        let words = format!("{}, serial {serial}, {rules}{note}", text(&zone["zone"]));
        entry(out, &format!("zone {place}"), &words);
    }
    if list(&policy["zones"]).is_empty() {
        entry(out, "zones", "none for this client");
    }
    let others = joined(&policy["other_zones"]);
    if !others.is_empty() {
        entry(out, "not here", &format!("{others} (the group's policies leave them out)"));
    }
    let ignored = joined(&policy["ignored"]);
    if !ignored.is_empty() {
        entry(out, "off", &format!("{ignored} rules (response_policy)"));
    }
}

fn joined(v: &Value) -> String {
    list(v).iter().map(text).collect::<Vec<_>>().join(", ")
}

fn way(out: &mut String, v: &Value) {
    for (step, place) in list(&v["way"]).iter().zip(1..) {
        let what = match (place, step["reached"] == true) {
            (1, _) => "the name asked for",
            (_, true) => "an alias",
            (_, false) => "an alias, not reached",
        };
        out.push('\n');
        wrapped(out, &format!("Name {place}: {}, {what}", text(&step["name"])));
        if step["own"] == true {
            entry(out, "own", "zones from elsewhere leave it alone");
        }
        if step["exempt"] == true {
            entry(out, "exempt", "its answer is signed, and the client asks for DNSSEC");
        }
        for found in list(&step["matches"]) {
            matched(out, found);
        }
        unmatched(out, step);
        let none_known = list(&step["servers"]).is_empty();
        match step["servers_known"].as_str() {
            Some("some") => {
                entry(out, "servers", "not all could be looked up: the others were no match");
            }
            Some("not-needed") if none_known => {
                entry(out, "servers", "not looked up: the verdict does not depend on them");
            }
            Some("not-needed") => {
                entry(out, "servers", "not all looked up: the verdict does not depend on them");
            }
            _ => {}
        }
    }
}

fn matched(out: &mut String, found: &Value) {
    let trigger = match found["exception"].as_u64() {
        Some(id) => format!("EXCEPT. {id}"),
        None => text(&found["trigger"]),
    };
    let zone = match found["exception"].is_null() {
        true => format!(" of {}", text(&found["zone"])),
        false => String::new(),
    };
    let subject = match found["trigger"] == "QNAME" {
        true => String::new(),
        false => format!(" for {}", text(&found["matched"])),
    };
    let outcome = match found["lost"].as_str() {
        None => "WINS".to_owned(),
        Some(lost) => format!("loses: {lost}"),
    };
    let (owner, action) = (text(&found["owner"]), text(&found["action"]));
    entry(out, &trigger, &format!("{owner}{zone}{subject}, {action}; {outcome}"));
}

/// Triggers by which nothing matched, and who looked.
fn unmatched(out: &mut String, step: &Value) {
    for looked in list(&step["looked"]) {
        let trigger = &looked["trigger"];
        let matches = list(&step["matches"])
            .iter()
            .any(|m| m["trigger"] == *trigger && m["exception"].is_null());
        if matches {
            continue;
        }
        let servers = matches!(trigger.as_str(), Some("NSDNAME" | "NSIP"));
        if servers && step["servers_known"] == "not-needed" && list(&step["servers"]).is_empty() {
            continue;
        }
        let at = match trigger.as_str() {
            Some("IP") => held(&step["addresses"]),
            Some("NSDNAME") => held(&step["servers"]),
            Some("NSIP") => held(&step["server_addresses"]),
            _ => String::new(),
        };
        let words = format!("no match in {}{at}", joined(&looked["zones"]));
        entry(out, &text(trigger), &words);
    }
    if list(&step["looked"]).is_empty() && list(&step["matches"]).is_empty() {
        entry(out, "no rules", "no zone that judges this client looks at it");
    }
}

fn held(v: &Value) -> String {
    let all = joined(v);
    if all.is_empty() { " (nothing to compare)".to_owned() } else { format!(" ({all})") }
}

/// What is true and what the client gets; together if that is the same.
fn outcome(out: &mut String, truth: &Value, verdict: &Value) {
    // an explanation from files has no reply
    let code = verdict["rcode"].as_str();
    let acted = !matches!(verdict["outcome"].as_str(), Some("clean" | "allowed" | "local"));
    let same = !acted && ["rcode", "answer"].iter().all(|key| truth[key] == verdict[key]);
    if !truth.is_null() {
        out.push_str(if same { "\nThe answer, as without policy\n" } else { "\nWithout policy\n" });
        from(out, truth);
        entry(out, "code", &text(&truth["rcode"]));
        records(out, &truth["answer"]);
    }
    let Some(code) = code.filter(|_| !same) else { return };
    out.push_str("\nThe answer\n");
    let cut = if verdict["truncated"] == true { ", truncated (TC)" } else { "" };
    entry(out, "code", &format!("{code}{cut}"));
    records(out, &verdict["answer"]);
}

/// Where the truth is known from.
fn from(out: &mut String, truth: &Value) {
    let upstream = text(&truth["upstream"]);
    let from = match text(&truth["source"]).as_str() {
        "upstream" => format!("upstream {upstream}, asked now"),
        "cache" => format!("the cache, from {upstream}; {} s left", number(&truth["ttl_left"])),
        "stale" => format!("the cache, from {upstream}; stale"),
        "failure" => format!("nobody: {upstream}: {}", text(&truth["failure"])),
        _ => text(&truth["section"]),
    };
    let only = " (for this explanation only)";
    entry(out, "from", &format!("{from}{}", if truth["not_needed"] == true { only } else { "" }));
}

fn records(out: &mut String, v: &Value) {
    for record in list(v) {
        entry(out, "record", &text(record));
    }
}
