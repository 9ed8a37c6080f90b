//! The text of a record: JSON with stable field names, or BIND's lines.

use std::fmt::Write as _;

use serde::Serialize;

use super::{HitRecord, QueryRecord};
use crate::clock;
use crate::dns::rtype;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// BIND 9's line of category `rpz`, as it stands in a file with print-time, print-category
    /// and print-severity.
    Bind,
    /// The same without type and class, as older versions had it.
    BindLegacy,
}

#[derive(Serialize)]
struct JsonHit<'a> {
    time: String,
    event: &'static str,
    server: &'a str,
    client: String,
    port: u16,
    qname: String,
    qtype: String,
    trigger: &'static str,
    rule: String,
    zone: String,
    serial: u32,
    action: &'static str,
    mode: &'static str,
    matched: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonQuery<'a> {
    time: String,
    event: &'static str,
    server: &'a str,
    client: String,
    port: u16,
    qname: String,
    qtype: String,
    transport: &'static str,
    outcome: &'static str,
}

/// Appends one line for a policy hit.
pub(super) fn hit(out: &mut String, format: Format, server: &str, hit: &HitRecord) {
    match format {
        Format::Json => push_json(
            out,
            &JsonHit {
                time: clock::rfc3339(hit.time),
                event: "policy-hit",
                server,
                client: hit.client.ip().to_string(),
                port: hit.client.port(),
                qname: hit.qname.to_string(),
                qtype: rtype::text(hit.qtype),
                trigger: hit.trigger.as_str(),
                rule: hit.rule(),
                zone: hit.zone.settings.name.to_string(),
                serial: hit.zone.rules.soa.serial,
                action: hit.action,
                mode: if hit.enforced { "enforce" } else { "monitor" },
                matched: hit.subject(),
                reason: hit.exception.as_ref().map(|e| &*e.reason),
                owner: hit.exception.as_ref().map(|e| &*e.owner),
            },
        ),
        Format::Bind | Format::BindLegacy => {
            front(out, "rpz", hit.time);
            let qname = &hit.qname;
            let kind = match format {
                Format::BindLegacy => String::new(),
                _ => format!("/{}/IN", rtype::text(hit.qtype)),
            };
            // the owner as BIND builds it: from the matched name, so a wildcard is not shown
            // writing to a String cannot fail, here and below
            let _ = writeln!(
                out,
                "client @0x0 {}#{} ({qname}): {}rpz {} {} rewrite {qname}{kind} via {}",
                hit.client.ip(),
                hit.client.port(),
                if hit.enforced { "" } else { "disabled " },
                hit.trigger,
                hit.action,
                hit.rule_matched(),
            );
        }
    }
}

/// Appends one line for a query.
pub(super) fn query(out: &mut String, format: Format, server: &str, query: &QueryRecord) {
    let transport = if query.tcp { "tcp" } else { "udp" };
    match format {
        Format::Json => push_json(
            out,
            &JsonQuery {
                time: clock::rfc3339(query.time),
                event: "query",
                server,
                client: query.client.ip().to_string(),
                port: query.client.port(),
                qname: query.qname.to_string(),
                qtype: rtype::text(query.qtype),
                transport,
                outcome: query.outcome,
            },
        ),
        Format::Bind | Format::BindLegacy => {
            front(out, "queries", query.time);
            let (qname, qtype) = (&query.qname, rtype::text(query.qtype));
            let _ = writeln!(
                out,
                "client @0x0 {}#{} ({qname}): query: {qname} IN {qtype} {} ({})",
                query.client.ip(),
                query.client.port(),
                if query.tcp { "+T" } else { "+" },
                query.outcome,
            );
        }
    }
}

fn push_json(out: &mut String, record: &impl Serialize) {
    // a record is strings and numbers only, which always serialize
    if let Ok(line) = serde_json::to_string(record) {
        out.push_str(&line);
        out.push('\n');
    }
}

/// What stands in front of BIND's text: `21-Nov-2026 20:08:00.000 rpz: info: `.
fn front(out: &mut String, category: &str, time: u64) {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day) = clock::civil(time / 86_400_000);
    let iso = clock::rfc3339(time);
    let month = MONTHS[month as usize - 1];
    let _ = write!(out, "{day:02}-{month}-{year} {} {category}: info: ", &iso[11..23]);
}
