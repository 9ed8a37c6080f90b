//! `culvert pair compare`: the states of two relays side by side.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::render::{duration, list, number, text};
use crate::clock;

/// A version of a zone that is no older than this may not have reached the other relay yet, in
/// seconds.
const ON_ITS_WAY: u64 = 60;
/// Exceptions made by the same command on both relays end at nearly the same time: within this,
/// in milliseconds.
const SAME_END: u64 = 60_000;

/// How one thing compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// The same on both.
    Same,
    /// Not the same.
    Differs,
    /// One relay has a new version that the other should have within moments.
    OnItsWay,
    /// Not to be compared.
    Unknown,
}

impl Found {
    fn of(same: bool) -> Found {
        if same { Found::Same } else { Found::Differs }
    }
}

/// One thing that was compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What it is.
    pub what: String,
    /// The policy zone that it belongs to.
    pub zone: Option<String>,
    /// As it is here.
    pub here: String,
    /// As it is on the other relay.
    pub there: String,
    /// How they compare.
    pub found: Found,
}

impl Row {
    fn new(what: &str, here: String, there: String, found: Found) -> Row {
        Row { what: what.to_owned(), zone: None, here, there, found }
    }

    fn plain(what: &str, here: String, there: String) -> Row {
        let found = Found::of(here == there);
        Row::new(what, here, there, found)
    }
}

/// All that should be the same on the two relays of a pair.
pub fn compare(here: &Value, there: &Value) -> Vec<Row> {
    let same_version = here["version"] == there["version"];
    let mut rows = vec![Row::plain("version", text(&here["version"]), text(&there["version"]))];
    let [ours, theirs] = [here, there].map(|side| shown(&side["config_hash"]));
    let mut config = Row::plain("configuration", ours, theirs);
    if !same_version {
        // another version may write the same down in another way
        config.found = Found::Unknown;
    }
    rows.push(config);
    let [ours, theirs] = [here, there].map(policy);
    rows.push(Row::plain("policy", ours, theirs));
    exceptions(&mut rows, here, there);
    zones(&mut rows, here, there);
    rows
}

/// True if nothing differs.
pub fn agree(rows: &[Row]) -> bool {
    rows.iter().all(|row| row.found != Found::Differs)
}

/// The comparison in the form of `--json`.
pub fn report(peer: &str, rows: &[Row]) -> Value {
    json!({ "same": agree(rows), "peer": peer, "rows": rows })
}

fn policy(side: &Value) -> String {
    match (side["suspended"].is_null(), side["policy_mode"] == "monitor") {
        (false, _) => "suspended".to_owned(),
        (_, true) => "monitor".to_owned(),
        _ => "enforce".to_owned(),
    }
}

fn shown(value: &Value) -> String {
    if value.is_null() { "-".to_owned() } else { text(value) }
}

// ── exceptions ──────────────────────────────────────────────────────────────────────────────

/// What an exception is for, and when it ends, in milliseconds since 1970.
type Scopes = BTreeMap<String, Option<u64>>;

fn scopes(side: &Value) -> Scopes {
    let scope = |e: &Value| {
        let exact = if e["subtree"] == true { "" } else { " (exact)" };
        let clients = e["clients"].as_str().map_or_else(String::new, |c| format!(" for {c}"));
        let what = format!("{} {}{exact}{clients}", text(&e["verdict"]), text(&e["name"]));
        (what, e["until"].as_str().and_then(clock::from_rfc3339))
    };
    list(&side["exception_list"]).iter().map(scope).collect()
}

fn exceptions(rows: &mut Vec<Row>, here: &Value, there: &Value) {
    let (ours, theirs) = (scopes(here), scopes(there));
    let mut different = Vec::new();
    for what in ours.keys().chain(theirs.keys().filter(|what| !ours.contains_key(*what))) {
        let (our, their) = (ours.get(what), theirs.get(what));
        let same = match (our, their) {
            (Some(Some(a)), Some(Some(b))) => a.abs_diff(*b) <= SAME_END,
            (a, b) => a == b,
        };
        if !same {
            different.push(Row::new(what, end(our), end(their), Found::Differs));
        }
    }
    let found = Found::of(different.is_empty());
    let counts = [ours.len(), theirs.len()].map(|n| n.to_string());
    let [our, their] = counts;
    rows.push(Row::new("exceptions", our, their, found));
    rows.extend(different);
}

fn end(until: Option<&Option<u64>>) -> String {
    match until {
        None => "-".to_owned(),
        Some(None) => "for good".to_owned(),
        Some(Some(until)) => {
            // a moment after `--for 8h` there are 8 hours left, not 7
            let left = until.saturating_sub(clock::wall_millis()) + SAME_END;
            format!("for {}", duration(left / 1000))
        }
    }
}

// ── zones ───────────────────────────────────────────────────────────────────────────────────

fn zones(rows: &mut Vec<Row>, here: &Value, there: &Value) {
    // a suspension shows in the mode of every zone; it is told once
    let by_modes = here["suspended"].is_null() && there["suspended"].is_null();
    let same_version = here["version"] == there["version"];
    let named = |side: &Value, name: &str| {
        list(&side["zones"]).iter().find(|zone| zone["zone"] == name).cloned()
    };
    let names = |side: &Value| -> Vec<String> {
        list(&side["zones"]).iter().map(|zone| text(&zone["zone"])).collect()
    };
    let mut all = names(here);
    all.extend(names(there).into_iter().filter(|name| named(here, name).is_none()));
    for name in all {
        let (ours, theirs) = (named(here, &name), named(there, &name));
        let from = rows.len();
        match (&ours, &theirs) {
            (Some(ours), Some(theirs)) => zone(rows, [ours, theirs], by_modes, same_version),
            _ => {
                let held = |side: &Option<Value>| {
                    if side.is_some() { "configured" } else { "-" }.to_owned()
                };
                rows.push(Row::new("zone", held(&ours), held(&theirs), Found::Differs));
            }
        }
        for row in &mut rows[from..] {
            row.zone = Some(name.clone());
        }
    }
}

fn zone(rows: &mut Vec<Row>, sides: [&Value; 2], by_modes: bool, same_version: bool) {
    let [here, there] = sides;
    if by_modes {
        let [ours, theirs] = sides.map(|side| text(&side["mode"]));
        rows.push(Row::plain("mode", ours, theirs));
    }
    let age = |side: &Value| side["age_s"].as_u64().unwrap_or(u64::MAX);
    let young = age(here).min(age(there)) < ON_ITS_WAY
        && here["state"] != "waiting"
        && there["state"] != "waiting";
    let lag = |same: bool| match (same, young) {
        (true, _) => Found::Same,
        (false, true) => Found::OnItsWay,
        (false, false) => Found::Differs,
    };
    let [sum, their_sum] = sides.map(|side| side["checksum"].as_str());
    let same_rules = sum.is_some() && sum == their_sum && here["rules"] == there["rules"];
    let both = |key: &str| sides.map(|side| number(&side[key]).to_string());
    let [ours, theirs] = both("serial");
    // a list's serial is made up on each host
    let same = ours == theirs || same_rules;
    rows.push(Row::new("serial", ours, theirs, lag(same)));
    let [ours, theirs] = both("rules");
    let same = ours == theirs;
    rows.push(Row::new("rules", ours, theirs, lag(same)));
    if let (Some(ours), Some(theirs)) = (sum, their_sum) {
        // another version may count in another way
        let found = if same_version { lag(ours == theirs) } else { Found::Unknown };
        rows.push(Row::new("checksum", ours.to_owned(), theirs.to_owned(), found));
    }
}

// ── words ───────────────────────────────────────────────────────────────────────────────────

/// Widths of the columns.
const WHAT: usize = 25;
const SIDE: usize = 20;

/// The comparison in words: a table, the verdict last.
pub fn words(v: &Value) -> String {
    let rows = list(&v["rows"]);
    let mut out = String::new();
    line(&mut out, "", "here", &text(&v["peer"]), "");
    let mut zone = "";
    for row in rows {
        let of_zone = row["zone"].as_str().unwrap_or("");
        let what = text(&row["what"]);
        if of_zone != zone {
            zone = of_zone;
            line(&mut out, &format!("zone {zone}"), "", "", "");
        }
        let what = if zone.is_empty() { what } else { format!("  {what}") };
        let mark = match row["found"].as_str() {
            Some("differs") => "DIFFERS",
            Some("on-its-way") => "on its way",
            Some("unknown") => "not compared",
            _ => "",
        };
        line(&mut out, &what, &text(&row["here"]), &text(&row["there"]), mark);
    }
    let count = |found: &str| rows.iter().filter(|row| row["found"] == found).count();
    let verdict = match (count("differs"), count("on-its-way")) {
        (0, 0) => "The two relays agree.".to_owned(),
        (0, _) => "The two relays agree, but for a new version that is on its way.".to_owned(),
        (1, _) => "The two relays DIFFER in 1 thing.".to_owned(),
        (n, _) => format!("The two relays DIFFER in {n} things."),
    };
    out.push_str(&verdict);
    out.push('\n');
    out
}

/// One line of the table; what is too long for its column has a line of its own.
fn line(out: &mut String, what: &str, here: &str, there: &str, mark: &str) {
    let [what, here, there] = [what, here, there].map(|text| text.replace('\n', "?"));
    let mut whole = what.clone();
    if what.chars().count() > WHAT && !(here.is_empty() && there.is_empty()) {
        whole.push('\n');
        whole.push_str(&" ".repeat(WHAT));
    } else {
        whole = format!("{what:<WHAT$}");
    }
    let rest = format!(" {here:<SIDE$} {there:<SIDE$} {mark}");
    // what the other relay says of itself must not command a terminal
    let safe = |c: char| if c.is_control() && c != '\n' { '?' } else { c };
    out.extend(format!("{whole}{rest}").trim_end().chars().map(safe));
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side() -> Value {
        json!({
            "version": "0.1.0", "config_hash": "00112233aabbccdd", "policy_mode": "enforce",
            "suspended": null,
            "exception_list": [{"verdict": "allow", "name": "a.example", "subtree": true,
                "clients": null, "until": "2027-01-15T08:01:00.000Z"}],
            "zones": [
                {"zone": "feed.example", "mode": "enforce", "serial": 7, "rules": 3, "age_s": 500,
                 "state": "current", "checksum": null},
                {"zone": "list.example", "mode": "enforce", "serial": 1, "rules": 2, "age_s": 500,
                 "state": "current", "checksum": "ab"},
            ],
        })
    }

    /// What is found if the other side is changed so.
    fn found(change: impl FnOnce(&mut Value)) -> Vec<(String, Found)> {
        let mut there = side();
        change(&mut there);
        let rows = compare(&side(), &there);
        let words = words(&report("192.0.2.12:8053", &rows));
        assert!(words.lines().all(|line| line.chars().count() <= 80), "{words}");
        assert_eq!(words.ends_with("DIFFER in 1 thing.\n"), !agree(&rows), "{words}");
        rows.into_iter()
            .filter(|row| row.found != Found::Same)
            .map(|row| (row.what, row.found))
            .collect()
    }

    #[test]
    fn what_differs_is_found_and_what_is_a_hosts_own_is_not() {
        use Found::{Differs, OnItsWay, Unknown};
        let one = |what: &str, found| vec![(what.to_owned(), found)];
        assert_eq!(found(|_| {}), []);
        assert_eq!(found(|v| v["config_hash"] = json!("ff")), one("configuration", Differs));
        assert_eq!(found(|v| v["suspended"] = json!({"until": "x"})), one("policy", Differs));
        let newer = |v: &mut Value| v["zones"][0]["serial"] = json!(8);
        assert_eq!(found(newer), one("serial", Differs));
        let moment_ago = |v: &mut Value| {
            newer(v);
            v["zones"][0]["age_s"] = json!(5);
        };
        assert_eq!(found(moment_ago), one("serial", OnItsWay));
        assert_eq!(found(|v| v["zones"][0]["mode"] = json!("monitor")), one("mode", Differs));
        assert_eq!(found(|v| v["zones"][1]["serial"] = json!(9)), [], "a list's is made up");
        assert_eq!(found(|v| v["zones"][1]["checksum"] = json!("cd")), one("checksum", Differs));
        let gone = |v: &mut Value| {
            v["zones"].as_array_mut().map(Vec::pop);
        };
        assert_eq!(found(gone), one("zone", Differs));
        let version = |v: &mut Value| {
            v["version"] = json!("0.2.0");
            v["config_hash"] = json!("ff");
        };
        let words = [("version", Differs), ("configuration", Unknown), ("checksum", Unknown)];
        assert_eq!(found(version), words.map(|(what, found)| (what.to_owned(), found)));
        let later = |v: &mut Value| {
            v["exception_list"][0]["until"] = json!("2027-01-15T08:01:30.000Z");
        };
        assert_eq!(found(later), [], "the same command, half a minute later");
    }

    #[test]
    fn what_the_other_relay_says_does_not_command_a_terminal() {
        let mut there = side();
        there["version"] = json!("0.1.0\u{1b}[2J\u{9b}1m\nThe two relays agree.");
        there["zones"][0]["zone"] = json!("feed.example\u{7}");
        let words = words(&report("192.0.2.12:8053", &compare(&side(), &there)));
        assert!(!words.chars().any(|c| c.is_control() && c != '\n'), "{words:?}");
        assert!(!words.lines().any(|line| line == "The two relays agree."), "{words}");
    }

    #[test]
    fn exceptions_on_one_side_only_are_named() {
        let mut there = side();
        there["exception_list"] = json!([{"verdict": "block", "name": "b.example", "subtree": false,
            "clients": "10.0.0.0/8", "until": null}]);
        let rows = compare(&side(), &there);
        let told: Vec<&str> = rows.iter().map(|row| row.what.as_str()).collect();
        assert!(told.contains(&"allow a.example"), "{told:?}");
        assert!(told.contains(&"block b.example (exact) for 10.0.0.0/8"), "{told:?}");
        assert!(!agree(&rows));
    }
}
