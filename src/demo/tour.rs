//! The tour: queries that show what the relay does, and what each should bring.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::backend::Backend;
use super::{client, say};

/// Longest wait for a reply: beyond the relay's own deadline.
const WAIT: Duration = Duration::from_secs(5);
/// Wait for a reply that must not come.
const SILENCE: Duration = Duration::from_millis(700);

/// What a query comes to that gets no reply.
const NO_REPLY: &str = "no reply";

/// What happens before a query of the tour.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    /// Backend 1 is killed, connections and all.
    FirstDies,
    /// Backend 2 too, and a second passes.
    BothDead,
}

struct Step {
    before: Before,
    name: &'static str,
    kind: &'static str,
    tcp: bool,
    shows: &'static str,
    expected: &'static str,
    /// The backends must not have been asked.
    here: bool,
}

const fn step(
    name: &'static str,
    kind: &'static str,
    shows: &'static str,
    expected: &'static str,
) -> Step {
    Step { before: Before::Nothing, name, kind, tcp: false, shows, expected, here: false }
}

const TOUR: &[Step] = &[
    step("www.example.com", "A", "a clean name, over DoH", "192.0.2.10"),
    Step { here: true, ..step("www.example.com", "A", "the same from the cache", "192.0.2.10") },
    step("nowhere.example.com", "A", "a name that does not exist", "NXDOMAIN"),
    Step { here: true, ..step("blocked.example", "A", "a blocked name", "NXDOMAIN, EDE 15") },
    Step {
        here: true,
        ..step("www.blocked.example", "A", "blocked by a wildcard", "NXDOMAIN, EDE 15")
    },
    step("ok.blocked.example", "A", "an exception: passthru", "198.51.100.3"),
    Step { here: true, ..step("nodata.example", "A", "blocked as NODATA", "NODATA, EDE 15") },
    step("garden.example", "A", "a walled garden", "alias 192.0.2.99, EDE 15"),
    Step {
        here: true,
        ..step("local.example", "A", "the rule's own address", "192.0.2.77, EDE 15")
    },
    step("alias.example.com", "A", "an alias to a blocked name", "NXDOMAIN alias, EDE 15"),
    Step { here: true, ..step("drop.example", "A", "blocked by silence", "no reply") },
    Step { here: true, ..step("tcp.example", "A", "TCP only, over UDP", "TC") },
    Step { tcp: true, ..step("tcp.example", "A", "TCP only, over TCP", "198.51.100.8") },
    step("watched.example", "A", "a rule that only watches", "198.51.100.9"),
    Step {
        here: true,
        ..step("printer.corp.example", "A", "a host of the configuration", "10.0.0.9")
    },
    step("large.example.com", "TXT", "too large for a datagram", "TC"),
    Step { tcp: true, ..step("large.example.com", "TXT", "the same over TCP", "20 records") },
    step("short.example.com", "A", "a name with a TTL of 1 s", "192.0.2.12"),
    Step {
        before: Before::FirstDies,
        ..step("fresh.example.com", "A", "backend 1 killed: the other", "192.0.2.11")
    },
    Step {
        before: Before::BothDead,
        ..step("short.example.com", "A", "both killed: stale", "192.0.2.12, EDE 3")
    },
    Step {
        here: true,
        ..step("www.example.com", "A", "both killed: from the cache", "192.0.2.10")
    },
    Step {
        here: true,
        ..step("blocked.example", "A", "both killed: still blocked", "NXDOMAIN, EDE 15")
    },
];

/// Asks every query of the tour and prints a table. Gives the number of differences.
pub(super) fn walk(relay: SocketAddr, backends: &[Arc<Backend>]) -> usize {
    say(&format!("{:<27} {:<25} {}\n", "WHAT IT SHOWS", "EXPECTED", "GOT"));
    let mut differences = 0;
    for step in TOUR {
        prepare(step.before, backends);
        let asked = || backends.iter().map(|b| b.asked()).sum::<usize>();
        let before = asked();
        let wait = if step.expected == NO_REPLY { SILENCE } else { WAIT };
        let reply = if step.tcp {
            client::ask_tcp(relay, step.name, step.kind, wait)
        } else {
            client::ask_once(relay, step.name, step.kind, wait)
        };
        let mut got = reply.map_or_else(|| NO_REPLY.to_owned(), |reply| reply.words);
        if step.here && asked() != before {
            got.push_str(" (asked a backend)");
        }
        if got != step.expected {
            differences += 1;
            got.push_str("  <== DIFFERS");
        }
        say(&format!("{:<27} {:<25} {got}\n", step.shows, step.expected));
    }
    say(&format!("{} queries, {differences} differences\n", TOUR.len()));
    differences
}

fn prepare(before: Before, backends: &[Arc<Backend>]) {
    match before {
        Before::Nothing => {}
        Before::FirstDies => backends[0].set_running(false),
        Before::BothDead => {
            backends[1].set_running(false);
            // the TTL of one second has to pass
            std::thread::sleep(Duration::from_millis(1100));
        }
    }
}

/// What to try by hand.
pub(super) fn invitation(relay: SocketAddr, config: &Path) -> String {
    let mut out = String::new();
    let dig = |words: &str| format!("  dig @{} -p {} {words}\n", relay.ip(), relay.port());
    out.push_str("\nThe relay is ready. Try, in another terminal:\n\n");
    // what comes later in the tour needs dead backends
    for step in TOUR.iter().take_while(|step| matches!(step.before, Before::Nothing)) {
        let mut words = step.name.to_owned();
        if step.kind != "A" {
            words.push_str(&format!(" {}", step.kind));
        }
        match (step.tcp, step.expected.ends_with("TC")) {
            (true, _) => words.push_str(" +tcp"),
            (false, true) => words.push_str(" +ignore"),
            (false, false) => {}
        }
        out.push_str(&dig(&words));
        // writing to a String cannot fail, here and below
        let _ = writeln!(out, "      {}: {}", step.shows, step.expected);
    }
    out.push_str("\nType 1 or 2 and Enter here to kill a backend or start it again, then:\n\n");
    out.push_str(&dig("which.example.com TXT +short"));
    out.push_str("      which backend answers\n");
    out.push_str(&dig("fresh.example.com"));
    out.push_str("      one is dead, the other answers: 192.0.2.11\n");
    out.push_str(&dig("short.example.com"));
    out.push_str("      asked before, both are dead now: a stale answer, EDE 3\n");
    let program = std::env::current_exe()
        .map_or_else(|_| "culvert".to_owned(), |path| path.display().to_string());
    let _ = writeln!(out, "\nThe operator's side:\n");
    for command in ["status", "probe", "cache show www.example.com"] {
        let _ = writeln!(out, "  {program} {command} --config {}", config.display());
    }
    let _ = writeln!(out, "  curl http://{}:8053/metrics", relay.ip());
    out.push_str("\nCtrl-C ends. Policy hits as they happen:\n");
    out
}
