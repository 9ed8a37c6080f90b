//! Replies of the control socket in words, for terminals of 80 columns.

use std::fmt::Write as _;

use serde_json::Value;

use super::exceptions;
use super::zones::words;

/// Width of a terminal.
const COLUMNS: usize = 80;

/// `culvert status`.
pub fn status(v: &Value) -> String {
    let mut out = String::new();
    // writing to a String cannot fail, here and below
    let _ = writeln!(
        out,
        "{} (culvert {}), up {}, policy generation {}{}",
        text(&v["name"]),
        // no parentheses within parentheses
        text(&v["version"]).replace(['(', ')'], ""),
        duration(number(&v["uptime_s"])),
        number(&v["generation"]),
        if v["policy_mode"] == "monitor" { ", MONITOR ONLY: nothing is blocked" } else { "" },
    );
    exceptions::in_status(&mut out, v);
    if let Some(error) = v["reload_error"].as_str() {
        let _ = writeln!(out, "\nTHE LAST RELOAD CHANGED NOTHING:\n{error}");
    }
    out.push_str("\nListeners\n");
    for port in list(&v["listeners"]) {
        let (udp, tcp) = (text(&port["udp"]), text(&port["tcp"]));
        let state = if udp == tcp { udp } else { format!("udp {udp}, tcp {tcp}") };
        let buffer = port["receive_buffer"].as_u64();
        let buffer = buffer.map_or_else(String::new, |octets| format!(", buffer {}", size(octets)));
        let _ = writeln!(out, "  {:<28} {state}{buffer}", text(&port["address"]));
    }
    upstreams(&mut out, v);
    zones(&mut out, v);
    let cache = &v["cache"];
    let _ = writeln!(
        out,
        "\nCache\n  {} answers, {} of {}; {} hits, {} misses",
        number(&cache["entries"]),
        size(number(&cache["bytes"])),
        size(number(&cache["size"])),
        number(&cache["hits"]),
        number(&cache["misses"]),
    );
    queries(&mut out, &v["queries"]);
    let log = &v["log"];
    let _ = writeln!(
        out,
        "\nHit log\n  {} written, {} lost; query log {}",
        number(&log["written"]),
        number(&log["dropped"]),
        if log["queries"] == true { "on" } else { "off" },
    );
    out
}

/// A backend's state; one that nobody has asked is well only in hope.
fn backend_state(backend: &Value) -> String {
    match text(&backend["state"]) {
        state if state == "up" && backend["sent"] == 0 => "not asked yet".to_owned(),
        state => state,
    }
}

fn upstreams(out: &mut String, v: &Value) {
    for upstream in list(&v["upstreams"]) {
        let path = match upstream["path"].as_u64() {
            Some(n) if n > 1 => format!(", using path {n}"),
            _ => String::new(),
        };
        let _ = writeln!(
            out,
            "\nUpstream {} ({}): {}, {} in flight{path}",
            text(&upstream["name"]),
            text(&upstream["kind"]),
            text(&upstream["state"]),
            number(&upstream["in_flight"]),
        );
        for backend in list(&upstream["backends"]) {
            let latency = match backend["latency_ms"].as_f64() {
                Some(ms) => format!("{ms:.1} ms"),
                None => "-".to_owned(),
            };
            let standby = if backend["standby"] == true { ", standby" } else { "" };
            let _ = writeln!(
                out,
                "  {:<22} {:<13} {latency:>9} {:>10} sent {:>5} failed",
                text(&backend["address"]),
                format!("{}{standby}", backend_state(backend)),
                number(&backend["sent"]),
                number(&backend["failed"]),
            );
            if let Some(error) = backend["last_error"].as_str() {
                let ago = duration(number(&backend["last_error_ago_s"]));
                let _ = writeln!(out, "    last error {ago} ago: {error}");
            }
        }
    }
}

fn zones(out: &mut String, v: &Value) {
    out.push_str("\nPolicy zones, in their order\n");
    if list(&v["zones"]).is_empty() {
        out.push_str("  none\n");
    }
    exceptions::count(out, v);
    for zone in list(&v["zones"]) {
        let _ = writeln!(
            out,
            "  {:<22} {:<8} serial {:<10} {:>9} rules, {} old",
            text(&zone["zone"]),
            text(&zone["mode"]),
            number(&zone["serial"]),
            number(&zone["rules"]),
            duration(number(&zone["age_s"])),
        );
        if let Some(error) = zone["error"].as_str() {
            let _ = writeln!(out, "    A NEWER VERSION IS NOT IN FORCE: {error}");
        }
        words::in_status(out, zone);
        skipped(out, zone);
    }
}

pub(super) fn skipped(out: &mut String, zone: &Value) {
    let (skipped, duplicates) = (number(&zone["skipped"]), number(&zone["duplicates"]));
    if skipped > 0 {
        let _ = writeln!(out, "    records that are no usable rules: {skipped}");
        for line in list(&zone["skipped_first"]) {
            let _ = writeln!(out, "      {}", text(line));
        }
    }
    if duplicates > 0 {
        let _ = writeln!(out, "    rules that stand there twice, the first counts: {duplicates}");
    }
}

fn queries(out: &mut String, q: &Value) {
    let n = |name: &str| number(&q[name]);
    let _ = writeln!(
        out,
        "\nQueries\n  {} received = {} answered + {} dropped by policy + {} refused\n  \
         + {} malformed + {} in flight",
        n("received"),
        n("answered"),
        n("dropped_by_policy"),
        n("refused"),
        n("malformed"),
        n("in_flight"),
    );
    let _ = writeln!(
        out,
        "  of these: {} from the cache, {} local, {} blocked, {} stale, {} SERVFAIL",
        n("cache_hits"),
        n("local"),
        n("blocked"),
        n("stale"),
        n("servfail"),
    );
}

/// `culvert probe`.
pub fn probe(v: &Value) -> String {
    let mut out = String::new();
    for upstream in list(v) {
        let _ = writeln!(out, "Upstream {}", text(&upstream["upstream"]));
        for backend in list(&upstream["backends"]) {
            probed(&mut out, backend);
        }
    }
    out
}

/// True if each upstream has an address that answers as it should.
pub fn all_well(v: &Value) -> bool {
    let well = |upstream: &Value| list(&upstream["backends"]).iter().any(|b| b["error"].is_null());
    list(v).iter().all(well)
}

fn probed(out: &mut String, backend: &Value) {
    let total = backend["total_ms"].as_f64().unwrap_or(0.0);
    let state = match backend["error"].as_str() {
        Some(error) => format!("FAILED: {error}"),
        None => format!("ok, {total:.1} ms"),
    };
    let _ = writeln!(out, "  {}: {state}", text(&backend["address"]));
    for (label, key) in [
        ("TCP, ms", "tcp_ms"),
        ("TLS, ms", "tls_ms"),
        ("certificate", "certificate"),
        ("TLS version", "tls_version"),
        ("ALPN", "alpn"),
        ("HTTP version", "http_version"),
        ("HTTP status", "status"),
        ("meaning", "status_meaning"),
        ("content type", "content_type"),
        ("octets", "body_size"),
        ("DNS code", "rcode"),
        ("TTL, s", "ttl"),
        ("max-age, s", "max_age"),
        ("age, s", "age"),
        ("address", "first_address"),
    ] {
        if !backend[key].is_null() {
            let _ = writeln!(out, "    {label:<13} {}", text(&backend[key]));
        }
    }
}

/// `culvert cache show`.
pub fn cached(name: &str, v: &Value) -> String {
    let mut out = String::new();
    if list(v).is_empty() {
        let _ = writeln!(out, "nothing is cached for {name}");
    }
    for answer in list(v) {
        let flag = |key: &str, word: &'static str| if answer[key] == true { word } else { "" };
        let life = match number(&answer["ttl_left"]) {
            0 => "stale".to_owned(),
            left => format!("{left} s left"),
        };
        let _ = writeln!(
            out,
            "{name} {}{}{} from {}: {}, {life}",
            text(&answer["qtype"]),
            flag("dnssec_ok", " +DO"),
            flag("checking_disabled", " +CD"),
            text(&answer["upstream"]),
            text(&answer["rcode"]),
        );
        for record in list(&answer["records"]) {
            let _ = writeln!(out, "  {}", text(record));
        }
    }
    out
}

/// `culvert check`, when nothing is wrong.
pub fn checked(v: &Value) -> String {
    let mut out = String::new();
    let unread = number(&v["zones_not_read"]);
    let _ = write!(
        out,
        "{}: good; {}, {}",
        text(&v["file"]),
        counted(number(&v["upstreams"]), "upstream"),
        counted(list(&v["zones"]).len() as u64 + unread, "policy zone"),
    );
    if unread > 0 {
        out.push_str(" (rules not read)");
    }
    match list(&v["warnings"]).len() as u64 {
        0 => out.push('\n'),
        count => {
            let _ = writeln!(out, ", {}", counted(count, "warning"));
        }
    }
    for drop_in in list(&v["files"]).iter().skip(1) {
        let _ = writeln!(out, "  with {}", text(drop_in));
    }
    for zone in list(&v["zones"]) {
        if let Some(source) = zone["elsewhere"].as_str() {
            indented(&mut out, 2, &format!("{:<28} comes from {source}", text(&zone["zone"])));
            continue;
        }
        let _ = writeln!(
            out,
            "  {:<28} serial {:<11} {:>9} rules",
            text(&zone["zone"]),
            number(&zone["serial"]),
            number(&zone["rules"]),
        );
        skipped(&mut out, zone);
    }
    for warning in list(&v["warnings"]) {
        let (file, key) = (text(&warning["file"]), text(&warning["key"]));
        let (line, column) = (number(&warning["line"]), number(&warning["column"]));
        let message = text(&warning["message"]);
        wrapped(&mut out, &format!("warning: {file}:{line}:{column}: {key}: {message}"));
    }
    out
}

/// A paragraph whose lines end before the terminal does, where its words allow that; all but
/// the first are indented.
pub(super) fn wrapped(out: &mut String, paragraph: &str) {
    indented(out, 0, paragraph);
}

/// The same, with all lines this many columns further to the right.
pub(crate) fn indented(out: &mut String, indent: usize, paragraph: &str) {
    out.push_str(&" ".repeat(indent));
    let mut column = indent;
    for word in paragraph.split(' ') {
        let width = word.chars().count();
        if column > indent && column + 1 + width > COLUMNS {
            out.push('\n');
            column = indent + 2;
            out.push_str(&" ".repeat(column));
        } else if column > indent {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out.push('\n');
}

pub(super) fn list(v: &Value) -> &[Value] {
    v.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn number(v: &Value) -> u64 {
    v.as_u64().unwrap_or(0)
}

pub(super) fn text(v: &Value) -> String {
    match v {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `5 s`, `3 min`, `2 h`, `4 d`: the largest unit that fits.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `1 zone`, `2 zones`.
pub(super) fn counted(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

fn size(octets: u64) -> String {
    match octets {
        0..10_240 => format!("{octets} B"),
        10_240..10_485_760 => format!("{} KiB", octets >> 10),
        _ => format!("{} MiB", octets >> 20),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn the_head_tells_the_commit() {
        let status = json!({"name": "relay-1", "version": "0.1.0 (1a2b3c4d5e6f)", "uptime_s": 2,
                            "generation": 1});
        let head = "relay-1 (culvert 0.1.0 1a2b3c4d5e6f), up 2 s, policy generation 1\n";
        assert!(super::status(&status).starts_with(head));
    }

    #[test]
    fn lines_fit_a_terminal() {
        let status = json!({
            "name": "relay-1", "version": "0.1.0", "uptime_s": 90_000, "generation": 12,
            "policy_mode": "enforce",
            "listeners": [{"address": "[2001:db8:1111:2222::53]:53", "udp": "listening",
                           "tcp": "listening", "receive_buffer": 425_984}],
            "upstreams": [{"name": "service", "kind": "doh", "state": "up", "in_flight": 3,
                "backends": [{"address": "207.167.127.80:443", "state": "up", "standby": true,
                              "latency_ms": 12.34, "sent": 123_456_789, "failed": 1234}]}],
            "zones": [{"zone": "feed.vendor.example", "mode": "monitor", "serial": 2_026_112_101,
                       "rules": 1_000_000, "age_s": 7_300, "skipped": 0, "duplicates": 0,
                       "state": "held", "alarms": ["word ".repeat(20).trim()]}],
            "cache": {"entries": 100_000, "bytes": 67_108_864, "size": 67_108_864,
                      "hits": 1_000_000, "misses": 100_000},
            "queries": {"received": 1_234_567, "answered": 1_234_000},
            "log": {"written": 5, "dropped": 0, "queries": false},
        });
        let text = super::status(&status);
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(text.contains(" listening, buffer 416 KiB\n"), "{text}");
        assert!(text.contains("2 h old") && text.contains("207.167.127.80:443"));
        let held =
            "\n    HELD: a newer version waits for your word; see culvert zones\n    ALARM: word";
        assert!(text.contains(held), "{text}");
    }

    #[test]
    fn a_check_tells_its_warnings_in_lines_that_fit() {
        let message = "group guests leaves out allow.local, a zone from a file of this host; add \
                       it to policies if its rules should hold for these clients";
        let file = "/etc/culvert/culvert.toml";
        let checked = json!({
            "file": file, "upstreams": 1, "zones": [
                {"zone": "feed.example", "elsewhere": "192.0.2.53, 198.51.100.53:5353"}],
            "warnings": [{"file": file, "line": 12, "column": 12, "key": "group[].policies",
                          "message": message}],
        });
        let text = super::checked(&checked);
        assert!(text.starts_with(&format!("{file}: good; 1 upstream, 1 policy zone, 1 warning\n")));
        let feed = "\n  feed.example                 comes from 192.0.2.53, 198.51.100.53:5353\n";
        assert!(text.contains(feed), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let words: Vec<&str> = text.split_whitespace().collect();
        let warning = format!("warning: {file}:12:12: group[].policies: {message}");
        assert!(words.join(" ").ends_with(&warning), "{text}");
        let none = super::checked(&json!({"file": file, "upstreams": 2, "zones": []}));
        assert_eq!(none, format!("{file}: good; 2 upstreams, 0 policy zones\n"));
        // a word that is too long stands alone
        let mut out = String::new();
        super::wrapped(&mut out, &format!("a {} b", "x".repeat(90)));
        assert_eq!(out, format!("a\n  {}\n  b\n", "x".repeat(90)));
    }
}
