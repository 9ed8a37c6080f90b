//! Exceptions and the suspension of policy as the doors show them, in JSON and in words.

use std::fmt::Write as _;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::render::{indented, list, number, text, wrapped};
use crate::clock;
use crate::policy::exceptions::{Exception, Verdict};

/// One exception.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Its number.
    pub id: u64,
    /// Let through or blocked.
    pub verdict: Verdict,
    /// The name; the root stands for all names.
    pub name: String,
    /// Names below it too.
    pub subtree: bool,
    /// The clients, a prefix; `None`: everybody.
    pub clients: Option<String>,
    /// When it was made, RFC 3339.
    pub since: String,
    /// When it ends, RFC 3339; `None`: it does not.
    pub until: Option<String>,
    /// Who made it.
    pub owner: String,
    /// Why.
    pub reason: String,
}

/// What a command changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// The exception that was made.
    pub exception: Option<Shown>,
    /// Those that are gone: replaced by it, or removed.
    pub gone: Vec<Shown>,
    /// A restart finds it so. Otherwise `notes` say why not.
    pub saved: bool,
    /// What else the operator should know.
    pub notes: Vec<String>,
}

/// A suspension of policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suspended {
    /// When it ends, RFC 3339.
    pub until: String,
    /// Who suspended it.
    pub owner: String,
    /// Why.
    pub reason: String,
}

/// How many exceptions there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExceptionCount {
    /// Names let through.
    pub allow: usize,
    /// Names blocked.
    pub block: usize,
}

/// What an exception does to whom, and until when: what two relays of a pair should agree on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Scope {
    /// The name; the root stands for all names.
    pub name: String,
    /// Names below it too.
    pub subtree: bool,
    /// The clients, a prefix; `None`: everybody.
    pub clients: Option<String>,
    /// `allow` or `block`.
    pub verdict: &'static str,
    /// When it ends, RFC 3339; `None`: it does not.
    pub until: Option<String>,
}

impl Scope {
    /// What these exceptions do, in the order of their names.
    pub fn of_all(exceptions: &[Arc<Exception>]) -> Vec<Scope> {
        let mut scopes: Vec<Scope> = exceptions.iter().map(|each| Scope::of(each)).collect();
        scopes.sort();
        scopes
    }

    fn of(exception: &Exception) -> Scope {
        Scope {
            name: exception.name.to_string(),
            subtree: exception.subtree,
            clients: exception.clients.map(|net| net.to_string()),
            verdict: match exception.verdict {
                Verdict::Allow => "allow",
                Verdict::Block => "block",
            },
            until: exception.until.map(clock::rfc3339),
        }
    }

    /// 16 hexadecimal digits that stand for all of them.
    pub fn hash(scopes: &[Scope]) -> String {
        let mut hash = Sha256::new();
        for scope in scopes {
            // names have no line breaks
            hash.update(format!("{scope:?}\n"));
        }
        HEXLOWER.encode(&hash.finalize()[..8])
    }
}

impl Shown {
    /// The exception in the form of the doors.
    pub fn of(exception: &Exception) -> Shown {
        Shown {
            id: exception.id,
            verdict: exception.verdict,
            name: exception.name.to_string(),
            subtree: exception.subtree,
            clients: exception.clients.map(|net| net.to_string()),
            since: clock::rfc3339(exception.since),
            until: exception.until.map(clock::rfc3339),
            owner: exception.owner.clone(),
            reason: exception.reason.clone(),
        }
    }
}

/// `culvert allow` and `culvert block`.
pub fn made(v: &Value) -> String {
    let e = &v["exception"];
    let (id, name) = (number(&e["id"]), text(&e["name"]));
    let what = match (name.as_str(), e["subtree"] == true) {
        (".", _) => "all names are".to_owned(),
        (_, true) => format!("{name} and everything below it are"),
        (_, false) => format!("{name}, nothing below it, is"),
    };
    let does = match e["verdict"] == "allow" {
        true => "let through, whatever the zones say",
        false => "blocked (NXDOMAIN)",
    };
    let mut out = String::new();
    let (clients, until) = (clients(e), until(&e["until"]));
    wrapped(&mut out, &format!("Exception {id}: {what} {does}, for {clients}, {until}."));
    for old in list(&v["gone"]) {
        wrapped(&mut out, &format!("It replaces {}.", brief(old)));
    }
    notes(&mut out, v);
    let _ = writeln!(out, "To take it back: culvert exceptions remove {id}");
    out
}

/// `culvert exceptions remove`.
pub fn removed(v: &Value) -> String {
    let mut out = String::new();
    for old in list(&v["gone"]) {
        wrapped(&mut out, &format!("Removed: {}.", brief(old)));
    }
    notes(&mut out, v);
    out
}

/// `culvert exceptions`.
pub fn table(v: &Value) -> String {
    let exceptions = list(&v["exceptions"]);
    if exceptions.is_empty() {
        return "no exceptions\n".to_owned();
    }
    let mut out = row("NO", "WHAT", "NAME", "CLIENTS", "UNTIL");
    for e in exceptions {
        let until = e["until"].as_str().map_or_else(|| "for good".to_owned(), time);
        let (id, verdict) = (text(&e["id"]), text(&e["verdict"]));
        out.push_str(&row(&id, &verdict, &scope(e), &clients(e), &until));
        let (since, owner, reason) =
            (time(&text(&e["since"])), text(&e["owner"]), text(&e["reason"]));
        indented(&mut out, 11, &format!("since {since} by {owner}: {reason}"));
    }
    out
}

/// Widths of names and clients in the table.
const NAME: usize = 30;
const CLIENTS: usize = 16;

/// One line of the table. A name or clients that do not fit get a line of their own.
fn row(id: &str, what: &str, name: &str, clients: &str, until: &str) -> String {
    let front = format!("{id:>4} {what:<5} {name:<NAME$}");
    if name.chars().count() <= NAME && clients.chars().count() <= CLIENTS {
        return format!("{front} {clients:<CLIENTS$} {until}\n");
    }
    let rest = 11 + NAME + 1 + CLIENTS;
    format!("{}\n{:<rest$} {until}\n", front.trim_end(), format!("           {clients}"))
}

/// `culvert policy suspend`.
pub fn suspended(v: &Value) -> String {
    let now = &v["suspended"];
    let mut out = String::new();
    let until = until(&now["until"]);
    wrapped(
        &mut out,
        &format!(
            "Policy is suspended {until}: no zone and no exception acts; all matches are logged \
             as monitored. A restart of the relay ends this too."
        ),
    );
    if !v["replaced"].is_null() {
        let (owner, reason) = (text(&v["replaced"]["owner"]), text(&v["replaced"]["reason"]));
        wrapped(&mut out, &format!("It replaces the suspension by {owner}: {reason}."));
    }
    out.push_str("To end it before: culvert policy resume\n");
    out
}

/// `culvert policy resume`.
pub fn resumed(v: &Value) -> String {
    let was = &v["ended"];
    if was.is_null() {
        return "policy was not suspended\n".to_owned();
    }
    let mut out = String::new();
    let (owner, reason) = (text(&was["owner"]), text(&was["reason"]));
    wrapped(&mut out, &format!("Policy acts again. The suspension by {owner} has ended: {reason}"));
    out
}

/// What `culvert status` says of a suspension, if there is one.
pub(super) fn in_status(out: &mut String, v: &Value) {
    let now = &v["suspended"];
    if !now.is_null() {
        let (owner, reason) = (text(&now["owner"]), text(&now["reason"]));
        let until = time(&text(&now["until"]));
        out.push('\n');
        wrapped(out, &format!("POLICY IS SUSPENDED until {until} by {owner}: {reason}"));
    }
}

/// The line of `culvert status` that counts the exceptions.
pub(super) fn count(out: &mut String, v: &Value) {
    let (allow, block) = (number(&v["exceptions"]["allow"]), number(&v["exceptions"]["block"]));
    if allow + block > 0 {
        let _ = writeln!(out, "  exceptions before all zones: {allow} allow, {block} block");
    }
}

fn notes(out: &mut String, v: &Value) {
    for note in list(&v["notes"]) {
        wrapped(out, &text(note));
    }
}

fn brief(e: &Value) -> String {
    format!(
        "exception {}, {} {} for {}, {}, by {}: {}",
        number(&e["id"]),
        text(&e["verdict"]),
        scope(e),
        clients(e),
        until(&e["until"]),
        text(&e["owner"]),
        text(&e["reason"]),
    )
}

fn scope(e: &Value) -> String {
    match (text(&e["name"]).as_str(), e["subtree"] == true) {
        (".", _) => "all names".to_owned(),
        (name, true) => format!("{name} and below"),
        (name, false) => format!("{name} exactly"),
    }
}

fn clients(e: &Value) -> String {
    e["clients"].as_str().unwrap_or("everybody").to_owned()
}

fn until(v: &Value) -> String {
    v.as_str().map_or_else(|| "for good".to_owned(), |until| format!("until {}", time(until)))
}

/// `2026-01-31T12:00:00.000Z` as `2026-01-31 12:00:00Z`.
pub(super) fn time(rfc3339: &str) -> String {
    match rfc3339.get(..19) {
        Some(second) => format!("{}Z", second.replace('T', " ")),
        None => rfc3339.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn exception(id: u64, name: &str, clients: Option<&str>) -> Value {
        json!({"id": id, "verdict": "allow", "name": name, "subtree": true, "clients": clients,
               "since": "2026-11-22T00:30:00.123Z", "until": "2026-11-22T01:00:00.123Z",
               "owner": "root (sudo by anna)", "reason": "word ".repeat(20)})
    }

    #[test]
    fn the_table_fits_a_terminal_and_loses_nothing() {
        let long = "a-name-that-is-a-good-deal-longer-than-most.www.example.com";
        let v6 = "2001:db8:1111:2222:3333:4444:5555:6666/128";
        let all = json!({"exceptions": [
            exception(1, "example.com", None),
            exception(9999, long, Some("10.100.200.0/24")),
            exception(3, ".", Some(v6)),
        ]});
        let text = table(&all);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let until = "2026-11-22 01:00:00Z";
        let first = format!("   1 allow example.com and below          everybody        {until}");
        assert_eq!(text.lines().nth(1), Some(&*first), "{text}");
        assert!(text.contains(&format!("9999 allow {long} and below\n")), "{text}");
        assert!(text.contains(&format!("\n           {v6}")), "{text}");
        assert_eq!(text.matches(until).count(), 3);
        let reason = "\n           since 2026-11-22 00:30:00Z by root (sudo by anna): word word";
        assert_eq!(text.matches(reason).count(), 3);
        assert_eq!(text.matches("word").count(), 60);
        assert_eq!(table(&json!({"exceptions": []})), "no exceptions\n");
    }

    #[test]
    fn replies_say_what_holds_for_whom_until_when_and_how_to_take_it_back() {
        let mut new = exception(4, "example.com", Some("10.1.0.0/16"));
        let v = json!({"exception": new, "gone": [exception(2, "example.com", None)],
                       "notes": ["Mind this."]});
        let text = made(&v);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "Exception 4: example.com and everything below it are let through, whatever the zones \
             say, for 10.1.0.0/16, until 2026-11-22 01:00:00Z.",
            "It replaces exception 2, allow example.com and below for everybody, until",
            "Mind this. To take it back: culvert exceptions remove 4",
        ] {
            assert!(words.contains(part), "{part}: {text}");
        }
        new["subtree"] = json!(false);
        new["verdict"] = json!("block");
        new["until"] = Value::Null;
        let text = made(&json!({"exception": new}));
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let part =
            "example.com, nothing below it, is blocked (NXDOMAIN), for 10.1.0.0/16, for good.";
        assert!(words.contains(part), "{text}");
    }

    #[test]
    fn a_suspension_is_told_on_top() {
        let now = json!({"until": "2026-11-22T01:00:00.123Z", "owner": "root", "reason": "x y"});
        let mut out = String::new();
        in_status(&mut out, &json!({"suspended": now}));
        assert_eq!(out, "\nPOLICY IS SUSPENDED until 2026-11-22 01:00:00Z by root: x y\n");
        let text = suspended(&json!({"suspended": now, "replaced": now}));
        assert!(text.contains("restart") && text.contains("replaces the suspension by root: x y"));
        assert_eq!(resumed(&json!({"ended": null})), "policy was not suspended\n");
        assert!(resumed(&json!({"ended": now})).contains("by root has ended: x y"));
    }
}
