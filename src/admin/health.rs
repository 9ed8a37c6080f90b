//! `culvert healthcheck`: what the relay's own account means for its health, and the words.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::render::{counted, duration, indented, list, text};
use crate::clock;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is.
    pub check: String,
    /// It is as it should be.
    pub ok: bool,
    /// How it is, or what is wrong with it.
    pub told: String,
}

impl Check {
    /// A check that found this.
    pub fn new(check: impl Into<String>, found: Result<String, String>) -> Check {
        let ok = found.is_ok();
        let (Ok(told) | Err(told)) = found;
        Check { check: check.into(), ok, told }
    }
}

/// Why nothing is blocked although the zones are there, if an operator wants it so.
pub fn why_nothing_is_blocked(status: &Value) -> Option<String> {
    let suspended = &status["suspended"];
    if let Some(until) = suspended["until"].as_str() {
        return Some(format!("policy is suspended until {until} by {}", text(&suspended["owner"])));
    }
    let monitor = status["policy_mode"] == "monitor";
    monitor.then(|| "the relay only watches (response_policy.mode)".to_owned())
}

/// The default upstream, as the relay knows it. One that is down leaves the cache, and stale
/// answers.
pub fn upstream(status: &Value) -> Check {
    let Some(upstream) = list(&status["upstreams"]).first() else {
        return Check::new("upstream", Err("the relay has none".to_owned()));
    };
    let backends = list(&upstream["backends"]);
    let up = backends.iter().filter(|backend| backend["state"] == "up").count();
    let count = counted(backends.len() as u64, "backend");
    let found = match up {
        0 => {
            let error = backends.iter().find_map(|backend| backend["last_error"].as_str());
            let error = error.map_or_else(String::new, |error| format!("; {error}"));
            Err(format!("none of {count} is up{error}"))
        }
        _ if backends.iter().all(|backend| backend["sent"] == 0) => {
            Ok(format!("{count}, not asked yet"))
        }
        _ => Ok(format!("{up} of {count} up")),
    };
    Check::new(format!("upstream {}", text(&upstream["name"])), found)
}

/// The policy zones that act: each of them has to be there and in touch with its source, and if
/// `max_age` is given, confirmed by the source within that time.
pub fn zones(status: &Value, max_age: Option<Duration>) -> Vec<Check> {
    let now = clock::wall_millis();
    let acting = |zone: &&Value| zone["mode"] == "enforce" || zone["state"] == "withdrawn";
    let acting: Vec<&Value> = list(&status["zones"]).iter().filter(acting).collect();
    let wrong = acting.iter().filter_map(|zone| {
        let fault = fault_of(zone, max_age, now)?;
        Some(Check::new(format!("zone {}", text(&zone["zone"])), Err(fault)))
    });
    let mut checks: Vec<Check> = wrong.collect();
    if checks.is_empty() {
        let told = match why_nothing_is_blocked(status) {
            Some(reason) => reason,
            None => format!("{} in force", counted(acting.len() as u64, "zone")),
        };
        checks.push(Check::new("policy zones", Ok(told)));
    }
    checks
}

fn fault_of(zone: &Value, max_age: Option<Duration>, now: u64) -> Option<String> {
    let state = text(&zone["state"]);
    let fault = match state.as_str() {
        "waiting" => "was never loaded: nothing is judged by it",
        "stale" => "its source has not been reached for longer than alarm_after allows",
        "expired" => "is past the expire time of its SOA",
        "withdrawn" => "is past the expire time of its SOA, and its rules do not act",
        _ => return too_old(zone, max_age?, now),
    };
    let alarm =
        list(&zone["alarms"]).first().map_or_else(String::new, |a| format!("; {}", text(a)));
    Some(format!("{fault}{alarm}"))
}

/// A zone from elsewhere that its source has not confirmed for too long. A file is as old as its
/// owner wants it to be.
fn too_old(zone: &Value, max_age: Duration, now: u64) -> Option<String> {
    let heard = clock::from_rfc3339(zone["supply"]["last_contact"].as_str()?)?;
    let age = Duration::from_millis(now.saturating_sub(heard));
    let told = |length: Duration| duration(length.as_secs());
    (age > max_age).then(|| {
        format!("its source last confirmed it {} ago; --max-age is {}", told(age), told(max_age))
    })
}

/// What an explanation says about a name that must be blocked: the response code of the block,
/// nothing if there is no reply.
pub fn block(explanation: &Value) -> Result<(String, Option<String>), String> {
    if let Some(error) = explanation["error"].as_str() {
        return Err(error.to_owned());
    }
    let verdict = &explanation["verdict"];
    let rule = &explanation["rule"];
    let outcome = text(&verdict["outcome"]);
    let blocked = ["blocked", "data", "garden", "tcp-only", "dropped"].contains(&outcome.as_str());
    if !blocked || rule.is_null() {
        return Err(format!("is not blocked: {}", text(&verdict["sentence"])));
    }
    let by = format!("{} by {}", text(&rule["action"]), text(&rule["zone"]));
    Ok((by, verdict["rcode"].as_str().map(str::to_owned)))
}

/// All checks in the form of `--json`.
pub fn report(asked: &str, checks: &[Check]) -> Value {
    json!({ "healthy": checks.iter().all(|check| check.ok), "address": asked, "checks": checks })
}

/// The same in words: a line for each check, the verdict last.
pub fn words(v: &Value) -> String {
    let mut out = String::new();
    let checks = list(&v["checks"]);
    for check in checks {
        let mark = if check["ok"] == true { "ok  " } else { "FAIL" };
        indented(
            &mut out,
            0,
            &format!("{mark} {}: {}", text(&check["check"]), text(&check["told"])),
        );
    }
    let failed = checks.iter().filter(|check| check["ok"] != true).count() as u64;
    // writing to a String cannot fail
    let _ = match failed {
        0 => writeln!(out, "healthy"),
        _ => writeln!(out, "UNHEALTHY: {} failed", counted(failed, "check")),
    };
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(state: &str, mode: &str, contact_s: u64) -> Value {
        let contact = clock::rfc3339(clock::wall_millis() - contact_s * 1000);
        json!({"zone": "feed.example", "state": state, "mode": mode, "alarms": ["no answer"],
               "supply": {"last_contact": contact}})
    }

    #[test]
    fn zones_that_act_must_be_there_and_in_touch() {
        let hour = Some(Duration::from_secs(3600));
        for (state, mode, contact, max_age, part) in [
            ("current", "enforce", 5, None, None),
            ("held", "enforce", 5, hour, None),
            ("current", "enforce", 7300, None, None),
            ("current", "enforce", 7300, hour, Some("2 h ago; --max-age is 60 min")),
            ("current", "monitor", 7300, hour, None),
            (
                "waiting",
                "enforce",
                5,
                None,
                Some("never loaded: nothing is judged by it; no answer"),
            ),
            ("waiting", "monitor", 5, None, None),
            ("stale", "enforce", 5, None, Some("alarm_after")),
            ("expired", "enforce", 5, None, Some("expire time")),
            ("withdrawn", "off", 5, None, Some("do not act")),
        ] {
            let status = json!({"zones": [zone(state, mode, contact)]});
            let checks = zones(&status, max_age);
            let [check] = &checks[..] else { panic!("{checks:?}") };
            assert_eq!(check.ok, part.is_none(), "{state} {mode} {contact}: {check:?}");
            assert!(check.told.contains(part.unwrap_or("")), "{check:?}");
        }
        // a file has no supply
        let file =
            json!({"zones": [{"zone": "a", "state": "kept", "mode": "enforce", "supply": null}]});
        assert_eq!(zones(&file, hour)[0].told, "1 zone in force");
    }

    #[test]
    fn an_upstream_without_a_backend_in_service_is_no_service() {
        let status = |states: &[&str]| {
            let backend = |state: &&str| json!({"state": state, "last_error": "refused"});
            let backends: Vec<Value> = states.iter().map(backend).collect();
            json!({"upstreams": [{"name": "service", "backends": backends}]})
        };
        assert_eq!(upstream(&status(&["down", "up"])).told, "1 of 2 backends up");
        let mut new = status(&["up"]);
        new["upstreams"][0]["backends"][0]["sent"] = json!(0);
        assert_eq!(upstream(&new).told, "1 backend, not asked yet");
        let down = upstream(&status(&["down", "probing"]));
        assert!(!down.ok && down.told == "none of 2 backends is up; refused", "{down:?}");
        assert!(!upstream(&json!({})).ok);
    }

    #[test]
    fn words_end_with_the_verdict() {
        let good = Check::new("answers over UDP", Ok("0.4 ms".to_owned()));
        let bad = Check::new("zone feed.example", Err("word ".repeat(30).trim().to_owned()));
        let text = words(&report("127.0.0.1:53", &[good.clone(), bad]));
        assert!(text.starts_with("ok   answers over UDP: 0.4 ms\nFAIL zone feed.example: word"));
        assert!(text.ends_with("\nUNHEALTHY: 1 check failed\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(words(&report("127.0.0.1:53", &[good])).ends_with("\nhealthy\n"));
    }
}
