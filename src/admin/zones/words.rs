//! Policy zones in words, for terminals of 80 columns.

use std::fmt::Write as _;

use serde_json::Value;

use super::super::exceptions::time;
use super::super::render::{counted, duration, indented, list, number, skipped, text, wrapped};
use crate::clock;

/// Width of a zone's name in the table.
const NAME: usize = 24;

/// `culvert zones`.
pub fn table(v: &Value) -> String {
    let zones = list(&v["zones"]);
    if zones.is_empty() {
        return "no policy zones\n".to_owned();
    }
    let head = ["MODE", "STATE", "SERIAL", "RULES", "AGE", "NEXT"].map(str::to_owned);
    let mut out = row("ZONE", &head);
    for zone in zones {
        let cells = [
            text(&zone["mode"]),
            text(&zone["state"]),
            serial(zone),
            number(&zone["rules"]).to_string(),
            age(zone),
            next(zone, &v["now"]),
        ];
        out.push_str(&row(&text(&zone["zone"]), &cells));
        indented(&mut out, 2, &text(&zone["source"]));
        troubles(&mut out, 2, zone, &v["now"]);
    }
    out
}

/// One line of the table. A name that does not fit gets a line of its own.
fn row(name: &str, [mode, state, serial, rules, age, next]: &[String; 6]) -> String {
    let cells = format!("{mode:<8} {state:<9} {serial:>10} {rules:>9} {age:>7} {next:>7}");
    match name.chars().count() <= NAME {
        true => format!("{name:<NAME$} {cells}\n"),
        false => format!("{name}\n{:NAME$} {cells}\n", ""),
    }
}

/// `culvert zone show`.
pub fn show(v: &Value) -> String {
    let (zone, now) = (&v["zone"], &v["now"]);
    let mut out = format!("{}\n", text(&zone["zone"]));
    let mut line = |label: &str, value: &str| {
        let mut paragraph = String::new();
        indented(&mut paragraph, 16, value);
        let _ = write!(out, "  {label:<13} {}", paragraph.trim_start());
    };
    let way = match zone["kind"].as_str() {
        Some("transfer") => ", by zone transfer",
        Some("download") => ", downloaded",
        _ => "",
    };
    line("source", &format!("{}{way}", text(&zone["source"])));
    line("mode", &text(&zone["mode"]));
    line("state", &format!("{}: {}", text(&zone["state"]), meaning(&zone["state"])));
    line("serial", &serial(zone));
    line("rules", &rules(zone));
    line("age", &age(zone));
    let supply = &zone["supply"];
    if supply.is_object() {
        for (label, key) in [
            ("last try", "last_try"),
            ("last contact", "last_contact"),
            ("next try", "next_try"),
            ("expires", "expires"),
            ("saved", "saved"),
        ] {
            line(label, &moment(&supply[key], now));
        }
        if let Some(outcome) = supply["last_outcome"].as_str() {
            line("last outcome", outcome);
        }
        let n = |key: &str| number(&supply[key]);
        let so_far = format!(
            "taken as a whole {}, as changes {}; tries that failed {}; NOTIFYs heard {}",
            n("whole"),
            n("incremental"),
            n("failed_total"),
            n("notified"),
        );
        line("since start", &so_far);
    }
    troubles(&mut out, 2, zone, now);
    skipped(&mut out, zone);
    out
}

/// What a state means.
fn meaning(state: &Value) -> &'static str {
    match state.as_str() {
        Some("current") => "its newest version is in force",
        Some("waiting") => "it was never loaded, nothing is judged by it",
        Some("kept") => "an older version is in force, since the newest cannot be taken",
        Some("held") => "a newer version waits for your word",
        Some("stale") => "its source has not been reached for long, its rules go on",
        Some("expired") => "its source has not been reached until it expired, its rules go on",
        Some("withdrawn") => "it has expired, its rules do not act",
        _ => "this program does not know that word",
    }
}

fn rules(zone: &Value) -> String {
    let kinds = list(&zone["triggers"]).iter().filter(|kind| number(&kind[1]) > 0);
    let kinds: Vec<String> =
        kinds.map(|kind| format!("{} {}", text(&kind[0]), number(&kind[1]))).collect();
    let all = number(&zone["rules"]);
    if kinds.is_empty() { all.to_string() } else { format!("{all}: {}", kinds.join(", ")) }
}

fn is_waiting(zone: &Value) -> bool {
    zone["state"] == "waiting"
}

fn serial(zone: &Value) -> String {
    if is_waiting(zone) { "-".to_owned() } else { number(&zone["serial"]).to_string() }
}

fn age(zone: &Value) -> String {
    if is_waiting(zone) { "-".to_owned() } else { duration(number(&zone["age_s"])) }
}

/// When a zone is looked after next, seen from now.
fn next(zone: &Value, now: &Value) -> String {
    let supply = &zone["supply"];
    if supply["busy"].is_string() {
        return "now".to_owned();
    }
    match (millis(&supply["next_try"]), millis(now)) {
        (Some(next), Some(now)) => duration(next.saturating_sub(now) / 1000),
        _ => "-".to_owned(),
    }
}

fn millis(v: &Value) -> Option<u64> {
    clock::from_rfc3339(v.as_str()?)
}

/// A time, and how far away it is.
fn moment(v: &Value, now: &Value) -> String {
    let Some(at) = v.as_str() else { return "-".to_owned() };
    match (millis(v), millis(now)) {
        (Some(then), Some(now)) if then > now => {
            format!("{}, in {}", time(at), duration((then - now) / 1000))
        }
        (Some(then), Some(now)) => {
            format!("{}, {} ago", time(at), duration((now - then) / 1000))
        }
        _ => time(at),
    }
}

/// What there is to say of a zone besides its numbers.
fn troubles(out: &mut String, indent: usize, zone: &Value, now: &Value) {
    let mut say = |line: &str| indented(out, indent, line);
    if let Some(error) = zone["error"].as_str() {
        say(&format!("A NEWER VERSION IS NOT IN FORCE: {error}"));
    }
    for alarm in list(&zone["alarms"]) {
        say(&format!("ALARM: {}", text(alarm)));
    }
    let supply = &zone["supply"];
    if let Some(busy) = supply["busy"].as_str() {
        say(&format!("a try is going on: {busy}"));
    }
    if supply["failed"] == true {
        let row = match number(&supply["failures"]) {
            0 | 1 => String::new(),
            n => format!(", {n} in a row"),
        };
        let outcome = supply["last_outcome"].as_str().unwrap_or("no reason is known");
        say(&format!("the last try failed{row}: {outcome}"));
    }
    let out_of_touch =
        ["stale", "expired", "withdrawn"].iter().any(|state| zone["state"] == *state);
    if (supply["failed"] == true || out_of_touch) && supply["expires"].is_string() {
        say(&format!("by its SOA it expires {}", moment(&supply["expires"], now)));
    }
    if let Some(error) = supply["save_error"].as_str() {
        say(&format!("NOT SAVED, so that a restart finds an older copy, or none: {error}"));
    }
    if supply["held"].is_object() {
        held(out, indent, &text(&zone["zone"]), &supply["held"]);
    }
    let promoted = &zone["promoted"];
    if promoted.is_object() {
        let (since, by) = (time(&text(&promoted["since"])), text(&promoted["by"]));
        let line = format!(
            "it was made to enforce by {by} at {since}; write mode = \"enforce\" into its \
             [[policy]] too"
        );
        indented(out, indent, &line);
    }
}

/// The version that waits, why, and what can be done.
fn held(out: &mut String, indent: usize, zone: &str, held: &Value) {
    let (serial, rules) = (number(&held["serial"]), number(&held["rules"]));
    let since = time(&text(&held["since"]));
    let line = format!("HELD since {since}: serial {serial} with {}", counted(rules, "rule"));
    indented(out, indent, &line);
    for reason in list(&held["reasons"]) {
        indented(out, indent + 2, &text(reason));
    }
    let _ = writeln!(out, "{:indent$}  to see what it changes: culvert zone diff {zone}", "");
    let _ = writeln!(out, "{:indent$}  to let it take effect:  culvert zone accept {zone}", "");
}

/// What `culvert status` says of a zone that is not as it should be; the error is told already.
pub(in crate::admin) fn in_status(out: &mut String, zone: &Value) {
    if !["current", "kept"].iter().any(|state| zone["state"] == *state) {
        let (state, meaning) = (text(&zone["state"]).to_uppercase(), meaning(&zone["state"]));
        indented(out, 4, &format!("{state}: {meaning}; see culvert zones"));
    }
    for alarm in list(&zone["alarms"]) {
        indented(out, 4, &format!("ALARM: {}", text(alarm)));
    }
}

/// `culvert zone diff`.
pub fn diff(v: &Value) -> String {
    let n = |key: &str| number(&v[key]);
    let mut out = String::new();
    let zone = text(&v["zone"]);
    wrapped(
        &mut out,
        &format!(
            "{zone}: serial {} with {} in force, serial {} with {} is held.",
            n("old_serial"),
            counted(n("old_rules"), "rule"),
            n("new_serial"),
            counted(n("new_rules"), "rule"),
        ),
    );
    if n("added") + n("removed") + n("changed") == 0 {
        out.push_str("Both do the same.\n");
    }
    for (title, key, first) in [
        ("Would go", "removed", "first_removed"),
        ("Would come", "added", "first_added"),
        ("Would change", "changed", "first_changed"),
    ] {
        if n(key) > 0 {
            let _ = writeln!(out, "\n{title}: {}", n(key));
            some(&mut out, list(&v[first]), n(key));
        }
    }
    out.push_str(&format!("\nTo let it take effect: culvert zone accept {zone}\n"));
    out
}

/// The first ones of so many.
fn some(out: &mut String, first: &[Value], all: u64) {
    for line in first {
        indented(out, 2, &text(line));
    }
    let more = all.saturating_sub(first.len() as u64);
    if more > 0 {
        let _ = writeln!(out, "  and {more} more");
    }
}

/// `culvert zone report`.
pub fn report(v: &Value) -> String {
    let n = |key: &str| number(&v[key]);
    let (zone, mut out) = (text(&v["zone"]), String::new());
    let since = time(&text(&v["since"]));
    let queries = match n("queries") {
        1 => "1 query".to_owned(),
        more => format!("{more} queries"),
    };
    let line = format!("{zone} only watches. Since {since} it would have acted on {queries}.");
    wrapped(&mut out, &line);
    if n("queries") > 0 {
        let [first, last] = ["first", "last"].map(|key| time(&text(&v[key])));
        let _ = writeln!(out, "The first came at {first}, the last at {last}.");
    }
    let actions = list(&v["actions"]).iter();
    let actions: Vec<String> =
        actions.map(|a| format!("{} {}", text(&a["what"]), number(&a["queries"]))).collect();
    if !actions.is_empty() {
        wrapped(&mut out, &format!("What its rules say: {}.", actions.join(", ")));
    }
    for (title, key) in [("Names", "names"), ("Clients", "clients")] {
        let (seen, beyond) = (n(&format!("{key}_seen")), n(&format!("{key}_beyond")));
        if seen == 0 {
            continue;
        }
        let _ = writeln!(out, "\n{title}, the most frequent of {seen}");
        for one in list(&v[key]) {
            let _ = writeln!(out, "  {:>9} {}", number(&one["queries"]), text(&one["what"]));
        }
        if beyond > 0 {
            let _ = writeln!(out, "  {beyond:>9} for others, which are not counted one by one");
        }
    }
    if n("dropped") > 0 {
        let lost = n("dropped");
        out.push('\n');
        wrapped(&mut out, &format!("Up to {lost} more were lost, since too many came at a time."));
    }
    let _ = writeln!(out, "\nTo let it act: culvert zone promote {zone}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: &str = "2026-11-22T12:00:00.000Z";

    fn file() -> Value {
        json!({"zone": "block.local", "source": "/etc/culvert/rpz/block.rpz", "kind": "file",
               "state": "current", "mode": "enforce", "serial": 1, "rules": 3, "age_s": 5,
               "triggers": [["QNAME", 3], ["IP", 0]], "skipped": 0, "duplicates": 0,
               "alarms": [], "error": null, "supply": null, "promoted": null})
    }

    fn feed() -> Value {
        json!({"zone": "feed.with.a.very.long.name.vendor.example",
               "source": "192.0.2.53, 198.51.100.53:5353, tls://[2001:db8::53]:8853#dns.example",
               "kind": "transfer", "state": "held", "mode": "monitor", "serial": 4_294_967_295u32,
               "rules": 100_000_000, "age_s": 7_100, "triggers": [["QNAME", 100_000_000]],
               "skipped": 0, "duplicates": 0, "error": null,
               "alarms": ["serial 3 is held: it loses 60 % of the rules"],
               "promoted": {"since": "2026-11-22T10:00:00.000Z", "by": "root (sudo by anna)"},
               "supply": {"last_try": "2026-11-22T11:59:00.000Z", "failed": true, "failures": 4,
                          "last_outcome": "192.0.2.53: connection refused",
                          "last_contact": "2026-11-22T10:00:00.000Z",
                          "next_try": "2026-11-22T12:03:20.000Z",
                          "expires": "2026-11-29T10:00:00.000Z", "busy": null,
                          "saved": "2026-11-22T09:00:00.000Z", "save_error": "no space left",
                          "held": {"serial": 3, "rules": 400, "since": "2026-11-22T11:00:00.000Z",
                                   "reasons": ["it loses 60 % of the rules",
                                               "it covers guard name www.corp.example"]},
                          "whole": 2, "incremental": 40, "failed_total": 5, "notified": 7}})
    }

    #[track_caller]
    fn assert_fits(text: &str) {
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
            assert_eq!(line.trim_end(), line);
        }
    }

    #[test]
    fn the_table() {
        let waiting = json!({"zone": "new.example", "source": "192.0.2.1", "state": "waiting",
                             "mode": "enforce", "serial": 0, "rules": 0, "age_s": 9,
                             "supply": {"busy": "192.0.2.1: AXFR, 5 messages"}});
        let text = table(&json!({"now": NOW, "zones": [file(), feed(), waiting]}));
        let expected = "\
ZONE                     MODE     STATE         SERIAL     RULES     AGE    NEXT
block.local              enforce  current            1         3     5 s       -
  /etc/culvert/rpz/block.rpz
feed.with.a.very.long.name.vendor.example
                         monitor  held      4294967295 100000000 118 min   3 min
  192.0.2.53, 198.51.100.53:5353, tls://[2001:db8::53]:8853#dns.example
  ALARM: serial 3 is held: it loses 60 % of the rules
  the last try failed, 4 in a row: 192.0.2.53: connection refused
  by its SOA it expires 2026-11-29 10:00:00Z, in 6 d
  NOT SAVED, so that a restart finds an older copy, or none: no space left
  HELD since 2026-11-22 11:00:00Z: serial 3 with 400 rules
    it loses 60 % of the rules
    it covers guard name www.corp.example
    to see what it changes: culvert zone diff feed.with.a.very.long.name.vendor.example
    to let it take effect:  culvert zone accept feed.with.a.very.long.name.vendor.example
  it was made to enforce by root (sudo by anna) at 2026-11-22 10:00:00Z; write
    mode = \"enforce\" into its [[policy]] too
new.example              enforce  waiting            -         0       -     now
  192.0.2.1
  a try is going on: 192.0.2.1: AXFR, 5 messages
";
        assert_eq!(text, expected);
        let commands = |line: &&str| line.contains("culvert zone");
        let rest: Vec<&str> = text.lines().filter(|line| !commands(line)).collect();
        assert_fits(&rest.join("\n"));
        assert_eq!(table(&json!({"zones": []})), "no policy zones\n");
    }

    #[test]
    fn everything_about_one_zone() {
        let text = show(&json!({"now": NOW, "zone": file()}));
        let expected = "\
block.local
  source        /etc/culvert/rpz/block.rpz
  mode          enforce
  state         current: its newest version is in force
  serial        1
  rules         3: QNAME 3
  age           5 s
";
        assert_eq!(text, expected);
        let text = show(&json!({"now": NOW, "zone": feed()}));
        for part in [
            "\n  state         held: a newer version waits for your word\n",
            "\n  last try      2026-11-22 11:59:00Z, 60 s ago\n",
            "\n  next try      2026-11-22 12:03:20Z, in 3 min\n",
            "\n  since start   taken as a whole 2, as changes 40; tries that failed 5;",
            "\n  HELD since",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn what_a_held_version_would_change() {
        let v = json!({"zone": "feed.example", "old_serial": 7, "new_serial": 8, "old_rules": 1000,
                       "new_rules": 1, "added": 0, "removed": 998, "changed": 1,
                       "first_added": [], "first_removed": ["a.example NXDOMAIN", "b.example DROP"],
                       "first_changed": ["c.example NXDOMAIN -> PASSTHRU"]});
        let expected = "\
feed.example: serial 7 with 1000 rules in force, serial 8 with 1 rule is held.

Would go: 998
  a.example NXDOMAIN
  b.example DROP
  and 996 more

Would change: 1
  c.example NXDOMAIN -> PASSTHRU

To let it take effect: culvert zone accept feed.example
";
        assert_eq!(diff(&v), expected);
        let same = json!({"zone": "a", "added": 0, "removed": 0, "changed": 0});
        assert!(diff(&same).contains("\nBoth do the same.\n"));
    }

    #[test]
    fn what_a_watching_zone_would_have_done() {
        let v = json!({"zone": "feed.example", "since": "2026-11-22T10:00:00.000Z", "queries": 12,
                       "first": "2026-11-22T10:00:01.000Z", "last": "2026-11-22T11:00:00.000Z",
                       "names": [{"what": "bad.example", "queries": 10}], "names_seen": 2,
                       "names_beyond": 1, "clients": [{"what": "192.0.2.1", "queries": 12}],
                       "clients_seen": 1, "clients_beyond": 0, "dropped": 3,
                       "actions": [{"what": "NXDOMAIN", "queries": 12},
                                   {"what": "PASSTHRU", "queries": 5}]});
        let expected = "\
feed.example only watches. Since 2026-11-22 10:00:00Z it would have acted on 12
  queries.
The first came at 2026-11-22 10:00:01Z, the last at 2026-11-22 11:00:00Z.
What its rules say: NXDOMAIN 12, PASSTHRU 5.

Names, the most frequent of 2
         10 bad.example
          1 for others, which are not counted one by one

Clients, the most frequent of 1
         12 192.0.2.1

Up to 3 more were lost, since too many came at a time.

To let it act: culvert zone promote feed.example
";
        assert_eq!(report(&v), expected);
        assert_fits(expected);
        let none = json!({"zone": "feed.example", "since": "2026-11-22T10:00:00.000Z"});
        let text = report(&none);
        assert!(text.contains("acted on 0\n  queries.") && text.lines().count() == 4, "{text}");
    }
}
