//! `culvert explain`: what it says is what clients get, and it names the rule and its rivals.

use crate::harness::client::{Tcp, Udp};
use crate::harness::conf::Conf;
use crate::harness::process::run;
use crate::harness::relay::PROGRAM;
use crate::harness::script::Script;
use crate::harness::stage::Stage;
use crate::harness::wire::{
    A, AAAA, ANY, CNAME, HTTPS, Message, NS, Query, RD, RRSIG, Record, TC, TXT,
};
use crate::harness::{PATIENCE, millis, secs};
use serde_json::Value;
use std::net::IpAddr;

const WATCH: &str = "*.bad.example.com     CNAME .
    32.9.2.0.192.rpz-ip   CNAME .
    clean.example.net     CNAME *.";

const ALLOW: &str = "good.bad.example.com  CNAME rpz-passthru.
    late.example.com      CNAME rpz-tcp-only.";

const FEED: &str = "*.bad.example.com     CNAME .
    *.example.com         CNAME *.
    bad.example.com       CNAME .
    exact.bad.example.com CNAME *.
    drop.example.com      CNAME rpz-drop.
    tcp.example.com       CNAME rpz-tcp-only.
    data.example.com      A     192.0.2.1
    data.example.com      TXT   \"blocked by us\"
    garden.example.com    CNAME walled.example.net.
    inside.example.com    CNAME nas.example.net.
    *.each.example.com    CNAME *.garden.example.net.
    target.example.org    CNAME .
    pass.example.org      CNAME rpz-passthru.
    32.9.2.0.192.rpz-ip   CNAME .
    24.0.2.0.192.rpz-ip   CNAME rpz-passthru.
    32.3.0.0.127.rpz-client-ip CNAME .
    ns.evil.example.rpz-nsdname CNAME .
    32.66.2.0.192.rpz-nsip CNAME *.
    32.53.51.100.198.rpz-ip CNAME .";

const LAST: &str = "*.each.example.com CNAME .
    data.example.com       CNAME .
    open.example.net       A     192.0.2.200
    32.10.2.0.192.rpz-ip   CNAME .";

/// Two groups: children have only the last zone, guests have all but in another order.
const GROUPS: &str = "[[group]]
name = \"children\"
clients = [\"127.0.0.2\"]
policies = [\"last.local\"]

[[group]]
name = \"guests\"
clients = [\"127.0.0.4\"]
policies = [\"last.local\", \"feed.local\", \"watch.local\", \"allow.local\"]";

const CLIENTS: [&str; 4] = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"];

/// A relay with four zones and two groups.
fn stage(change: impl FnOnce(Conf) -> Conf) -> Stage {
    let stage = Stage::with(|conf| {
        let conf = conf.local("[local.hosts]\n\"nas.example.net\" = [\"10.0.0.80\"]");
        let conf = conf.policy("allow.local", ALLOW).policy_with(
            "watch.local",
            WATCH,
            "mode = \"monitor\"",
        );
        change(conf.policy("feed.local", FEED).policy("last.local", LAST).with(GROUPS))
    });
    let hints = [&[0, 1, 0, 0, 4, 0, 4][..], &[198, 51, 100, 53]].concat();
    stage.backend.add(&[
        Record::a("ip.example.net", 300, "192.0.2.9"),
        Record::a("both.example.net", 300, "192.0.2.10"),
        Record::a("both.example.net", 300, "192.0.2.9"),
        Record::a("wide.example.net", 300, "192.0.2.10"),
        Record::cname("alias.example.net", 300, "target.example.org"),
        Record::cname("chain.example.net", 300, "pass.example.org"),
        Record::cname("pass.example.org", 300, "target.example.org"),
        Record::a("target.example.org", 300, "192.0.2.9"),
        Record::cname("toip.example.net", 300, "ip.example.net"),
        Record::new("hint.example.net", 300, HTTPS, hints),
        Record::new(
            "evil.example.org",
            300,
            NS,
            crate::harness::wire::name_bytes("ns.evil.example"),
        ),
        Record::new(
            "other.example.org",
            300,
            NS,
            crate::harness::wire::name_bytes("ns.other.example"),
        ),
        Record::a("www.evil.example.org", 300, "203.0.113.1"),
        Record::a("www.other.example.org", 300, "203.0.113.2"),
        Record::a("ns.other.example", 300, "192.0.2.66"),
    ]);
    stage.backend.world(|world| world.remove("gone.example.net"));
    stage.backend.set_for("fails.example.net", Script::servfail());
    stage
}

const QUESTIONS: [(&str, u16); 31] = [
    ("good.bad.example.com", A),
    ("www.bad.example.com", A),
    ("bad.example.com", A),
    ("exact.bad.example.com", A),
    ("below.exact.bad.example.com", A),
    ("other.example.com", AAAA),
    ("late.example.com", A),
    ("drop.example.com", A),
    ("tcp.example.com", A),
    ("data.example.com", A),
    ("data.example.com", TXT),
    ("data.example.com", AAAA),
    ("data.example.com", ANY),
    ("garden.example.com", A),
    ("garden.example.com", CNAME),
    ("inside.example.com", A),
    ("www.each.example.com", A),
    ("alias.example.net", A),
    ("chain.example.net", A),
    ("toip.example.net", A),
    ("ip.example.net", A),
    ("both.example.net", A),
    ("wide.example.net", A),
    ("hint.example.net", HTTPS),
    ("www.evil.example.org", A),
    ("www.other.example.org", A),
    ("gone.example.net", A),
    ("fails.example.net", A),
    ("nas.example.net", A),
    ("printer.test", A),
    ("open.example.net", A),
];

/// The explanation as JSON.
#[track_caller]
pub fn explain(stage: &Stage, args: &[&str]) -> Value {
    let args = [&["explain", "--json"], args].concat();
    let text = stage.relay.tell(&args);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn type_text(qtype: u16) -> &'static str {
    match qtype {
        A => "A",
        AAAA => "AAAA",
        CNAME => "CNAME",
        TXT => "TXT",
        HTTPS => "HTTPS",
        RRSIG => "RRSIG",
        ANY => "ANY",
        _ => "?",
    }
}

/// Code, truncation and answer of a reply; nothing for none. TTLs and the data of types that the
/// tests cannot spell are left out.
pub type Seen = Option<(String, bool, Vec<String>)>;

pub fn seen(reply: Option<&Message>) -> Seen {
    let record = |r: &Record| {
        let plain = [A, AAAA, CNAME, TXT].contains(&r.rtype);
        let data = if plain { r.data() } else { String::new() };
        format!("{} {} {data}", r.name, type_text(r.rtype)).to_lowercase()
    };
    let reply = reply?;
    Some((reply.rcode().to_owned(), reply.has(TC), reply.answers.iter().map(record).collect()))
}

pub fn said(explained: &Value) -> Seen {
    let verdict = &explained["verdict"];
    let record = |v: &Value| {
        let text = v.as_str().expect("a record is text").to_lowercase();
        let words: Vec<&str> = text.splitn(5, ' ').collect();
        let plain = ["a", "aaaa", "cname", "txt"].contains(&words[3]);
        let data = if plain { words[4].trim_matches('"').trim_end_matches('.') } else { "" };
        format!("{} {} {data}", words[0].trim_end_matches('.'), words[3])
    };
    let answer = verdict["answer"].as_array().expect("a list").iter().map(record).collect();
    let code = verdict["rcode"].as_str()?.to_owned();
    Some((code, verdict["truncated"] == true, answer))
}

/// What a client gets. Where silence is expected, nothing may come in a while.
pub fn asked(stage: &Stage, client: &str, query: &Query, tcp: bool, silence: bool) -> Seen {
    let ip: IpAddr = client.parse().expect("an address");
    if tcp {
        return seen(Some(&Tcp::from(ip, stage.relay.address).ask(query)));
    }
    let udp = Udp::from(ip, stage.relay.address);
    udp.send(&query.bytes());
    let reply = udp.receive(if silence { millis(250) } else { PATIENCE });
    seen(reply.map(|bytes| Message::read(&bytes).expect("well formed")).as_ref())
}

/// Every question by every client: the verdict is the answer, before it was asked and after.
#[track_caller]
fn compare(stage: &Stage, questions: &[(&str, u16)], options: &[&str], change: fn(Query) -> Query) {
    for (name, qtype) in questions {
        for client in CLIENTS {
            for tcp in [false, true] {
                if tcp && name.starts_with("drop") {
                    continue;
                }
                let mut args = vec![*name, type_text(*qtype), "--client", client];
                args.extend(options);
                args.extend(tcp.then_some("--tcp"));
                let before = explain(stage, &args);
                let query = change(Query::new(name, *qtype));
                let silence = said(&before).is_none();
                let real = asked(stage, client, &query, tcp, silence);
                let after = explain(stage, &args);
                assert_eq!(said(&before), real, "{args:?}: {before:#}");
                assert_eq!(said(&after), real, "{args:?}: {after:#}");
                assert_consistent(&after);
            }
        }
    }
}

/// One rule acts or none, as the verdict says, and every other match has its reason.
#[track_caller]
pub fn assert_consistent(explained: &Value) {
    let steps = explained["way"].as_array().expect("a list");
    let matches: Vec<&Value> =
        steps.iter().flat_map(|s| s["matches"].as_array().expect("a list")).collect();
    let winners: Vec<_> = matches.iter().filter(|m| m["won"] == true).collect();
    match &explained["rule"] {
        Value::Null => assert!(winners.is_empty(), "{explained:#}"),
        rule => {
            assert_eq!(winners.len(), 1, "{explained:#}");
            for key in ["zone", "owner", "trigger", "matched"] {
                assert_eq!(winners[0][key], rule[key], "{explained:#}");
            }
        }
    }
    for lost in matches.iter().filter(|m| m["won"] == false) {
        let reason = lost["lost"].as_str().unwrap_or_default();
        assert!(
            !reason.is_empty() && reason != "it did not match when the kept answer was judged",
            "{explained:#}"
        );
    }
}

#[test]
fn the_verdict_is_what_every_client_gets() {
    let stage = stage(|conf| conf);
    compare(&stage, &QUESTIONS, &[], |query| query);
}

#[test]
fn the_verdict_holds_for_clients_that_want_dnssec_or_no_recursion() {
    let stage = stage(|conf| conf.response_policy("break_dnssec = false"));
    for name in ["bad.example.com", "ip.example.net"] {
        stage.backend.world(|world| world.sign(name));
    }
    let questions = [
        ("bad.example.com", A),
        ("www.bad.example.com", A),
        ("ip.example.net", A),
        ("toip.example.net", A),
        ("fails.example.net", A),
    ];
    compare(&stage, &questions, &["--dnssec"], Query::dnssec_ok);
    let parts = ["is clean: NOERROR", "the answer is signed and the client asks for DNSSEC"];
    assert_told(&stage, &["bad.example.com", "--dnssec"], &parts);
    let norecurse = |query: Query| {
        let flags = query.flags & !RD;
        query.flags(flags)
    };
    compare(&stage, &QUESTIONS[..6], &["--norecurse"], norecurse);
}

#[test]
fn an_explanation_is_neither_counted_nor_logged() {
    let stage = stage(|conf| conf);
    for (name, qtype) in QUESTIONS {
        explain(&stage, &[name, type_text(qtype)]);
    }
    assert!(stage.relay.hit_lines().is_empty());
    for counter in ["received", "answered", "blocked", "monitored", "waits_begun", "servfail"] {
        assert_eq!(stage.relay.count(&format!("/queries/{counter}")), 0, "{counter}");
    }
    assert_eq!(stage.relay.stderr().matches("name servers").count(), 0);
    let told = |args: &[&str]| explain(&stage, args)["truth"]["not_needed"].clone();
    assert_eq!(told(&["x.bad.example.com"]), true, "asked for the explanation only");
    assert_eq!(told(&["good.bad.example.com", "--tcp"]), false);
    stage.relay.ask("www.bad.example.com", A);
    stage.relay.hits(2);
}

/// Fails unless the explanation in words holds all of these, blanks and line ends aside.
#[track_caller]
fn assert_told(stage: &Stage, args: &[&str], parts: &[&str]) {
    let text = stage.relay.tell(&[&["explain"], args].concat());
    for line in text.lines().filter(|line| line.chars().count() > 80) {
        assert!(line.split_whitespace().count() <= 2, "only a word may be longer: {line}");
    }
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in parts {
        assert!(words(&text).contains(&words(part)), "{args:?} lacks {part:?}:\n{text}");
    }
}

/// What is asked, and what the explanation holds.
type Row = (&'static [&'static str], &'static [&'static str]);

fn rivals() -> [Row; 12] {
    [
        (
            &["both.example.net"],
            &[
                "by rule 32.9.2.0.192.rpz-ip of zone feed.local (address 192.0.2.9)",
                "feed.local.rpz:18 32.9.2.0.192.rpz-ip CNAME .",
                "24.0.2.0.192.rpz-ip of feed.local for 192.0.2.10, PASSTHRU; loses: a longer \
                 prefix matches: 192.0.2.9/32",
                "of last.local for 192.0.2.10, NXDOMAIN; loses: zone feed.local stands ahead",
            ],
        ),
        (
            &["wide.example.net"],
            &["is let through: NOERROR, from", "culvert block wide.example.net"],
        ),
        (
            &["exact.bad.example.com"],
            &["is blocked: NODATA, by", "NXDOMAIN; loses: an exact name comes before *."],
        ),
        (&["www.bad.example.com"], &["*.example.com of feed.local, NODATA; loses: a nearer *"]),
        (
            &["below.exact.bad.example.com"],
            &[
                "is clean: NOERROR, from upstream service",
                "exact.bad.example.com exists in the zone (rule exact.bad.example.com), so * above \
                 does not cover it",
            ],
        ),
        (
            &["alias.example.net"],
            &[
                "by rule target.example.org of zone feed.local (at its alias target.example.org)",
                "QNAME comes before IP within one zone",
                "culvert allow alias.example.net --reason",
            ],
        ),
        (
            &["chain.example.net"],
            &["target.example.org, an alias, not reached", "the hit at pass.example.org before"],
        ),
        (&["garden.example.com"], &["is sent to walled.example.net: NOERROR, by rule"]),
        (
            &["x.example.com", "--client", "127.0.0.3"],
            &[
                "by rule 32.3.0.0.127.rpz-client-ip of zone feed.local",
                "CLIENT-IP comes before QNAME within one zone",
                "culvert allow x.example.com --client 127.0.0.3 --reason",
            ],
        ),
        (
            &["fails.example.net"],
            &["fails: SERVFAIL, upstream service: it answered", "culvert probe"],
        ),
        (&["printer.test"], &["is answered here: NXDOMAIN", "[local] special in the conf"]),
        (
            &["www.evil.example.org"],
            &["(name server ns.evil.example)", "ns.evil.example.rpz-nsdname"],
        ),
    ]
}

#[test]
fn the_rule_is_told_as_it_is_written_and_so_is_what_undoes_it() {
    let stage = stage(|conf| conf);
    assert_told(
        &stage,
        &["www.bad.example.com", "--client", "127.0.0.4"],
        &[
            "www.bad.example.com A for 127.0.0.4 is blocked: NXDOMAIN, by rule *.bad.example.com \
             of zone feed.local",
            "culvert allow www.bad.example.com --client 127.0.0.4 --reason \"...\"",
            "zone feed.local, serial 1",
            "feed.local.rpz:5 *.bad.example.com CNAME .",
            "client 127.0.0.4, group guests, over udp",
            "zone 1 last.local, serial 1, 4 rules zone 2 feed.local, serial 1, 18 rules",
            "QNAME *.bad.example.com of watch.local, NXDOMAIN; loses: the zone only watches",
        ],
    );
    for (args, parts) in rivals() {
        assert_told(&stage, args, parts);
    }
    assert_told(&stage, &["clean.example.org"], &["QNAME no match in allow.local, watch.local,"]);
    let text = stage.relay.tell(&["explain", r"a\.b\$\009c.example.net"]);
    assert!(text.starts_with(r"a\.b\$\009c.example.net A for 127.0.0.1 is clean"), "{text}");
    for bad in [&["x.example.com", "NOTYPE"][..], &["a..b"], &["a.b", "--address", "192.0.2.1"]] {
        assert!(!stage.relay.command(&[&["explain"], bad].concat()).status.success(), "{bad:?}");
    }
}

#[test]
fn the_command_that_is_named_undoes_it() {
    let stage = stage(|conf| conf);
    let questions = [
        ("bad.example.com", "127.0.0.1"),
        ("www.each.example.com", "127.0.0.2"),
        ("x.example.org", "127.0.0.3"),
        ("alias.example.net", "127.0.0.4"),
        ("both.example.net", "127.0.0.1"),
    ];
    for (name, client) in questions {
        for turn in ["allowed", "blocked"] {
            let before = explain(&stage, &[name, "--client", client]);
            let command = before["undo"]["command"].as_str().unwrap_or_default().to_owned();
            let args: Vec<&str> = command.split(' ').map(|word| word.trim_matches('"')).collect();
            assert_eq!(args[0], "culvert", "{before:#}");
            stage.relay.tell(&args[1..]);
            let after = explain(&stage, &[name, "--client", client]);
            let real = asked(&stage, client, &Query::new(name, A), false, false);
            assert_eq!(said(&after), real, "{after:#}");
            assert_eq!(after["verdict"]["outcome"] == "allowed", turn == "allowed", "{after:#}");
            assert_consistent(&after);
        }
    }
}

#[test]
fn exceptions_and_a_suspension_are_told() {
    let stage = stage(|conf| conf);
    stage.relay.tell(&["allow", "bad.example.com", "--reason", "a false alarm"]);
    stage.relay.tell(&["block", "example.com", "--reason", "all of it"]);
    assert_told(
        &stage,
        &["www.bad.example.com"],
        &[
            "is let through: NOERROR, from upstream service, by exception 1",
            "culvert exceptions remove 1",
            "for bad.example.com and below",
            "reason a false alarm",
            "until it is removed",
            "feed.local, NXDOMAIN; loses: an exception comes first (number 1)",
            "example.com and below, NXDOMAIN; loses: exception 1 comes first: the nearer name",
        ],
    );
    assert_told(&stage, &["x.example.com"], &["NXDOMAIN, by exception 2", "remove 2"]);
    stage.relay.tell(&["policy", "suspend", "--for", "1m", "--reason", "a test"]);
    assert_told(
        &stage,
        &["x.example.com"],
        &["is clean: NOERROR", "SUSPENDED until", "(a test)", "loses: all policy only watches"],
    );
    compare(&stage, &QUESTIONS[..3], &[], |query| query);
}

#[test]
fn files_are_explained_without_a_relay() {
    let conf = Conf::new().policy("feed.local", FEED).policy("last.local", LAST);
    let list = conf.folder().join("list.txt");
    std::fs::write(&list, "# a list\nlisted.example\n").expect("a list is written");
    let file = |zone: &str| conf.zone_file(zone).display().to_string();
    let tell = |args: &[&str]| {
        let mut command = std::process::Command::new(PROGRAM);
        command.arg("explain").args(args);
        let output = run(&mut command, secs(20));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    };
    let (feed, last, list) = (file("feed.local"), file("last.local"), list.display().to_string());
    let zones = ["--zone", &last, "--zone", &feed];
    let rows: [(&[&str], &str); 7] = [
        (
            &["data.example.com"],
            "is blocked: NXDOMAIN, by rule data.example.com of zone last.local",
        ),
        (&["www.bad.example.com"], "feed.local.rpz:5"),
        (&["a.example.org", "--address", "192.0.2.9"], "(address 192.0.2.9)"),
        (&["a.example.org", "--ns", "ns.evil.example"], "(name server ns.evil.example)"),
        (&["a.example.org", "--ns", "192.0.2.66"], "(name server at 192.0.2.66)"),
        (&["a.example.org", "--client", "127.0.0.3"], "32.3.0.0.127.rpz-client-ip of zone"),
        (&["a.example.org"], "a.example.org A for 127.0.0.1 is clean: no rule acts"),
    ];
    for (args, part) in rows {
        let (good, text) = tell(&[args, &zones[..]].concat());
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(good && words.contains(part), "{args:?} lacks {part:?}:\n{text}");
    }
    let lists = ["www.listed.example", "--zone", &list, "--format", "domains"];
    let (good, text) = tell(&lists);
    assert!(good && text.contains("list.txt:2"), "{text}");
    let (good, text) = tell(&["a.example", "--zone", &feed, "--zone", &feed]);
    assert!(!good && text.contains("two files hold a zone feed.local"), "{text}");
    let (good, text) = tell(&["a.example", "--zone", "/nonexistent"]);
    assert!(!good && text.contains("/nonexistent:"), "{text}");
    let (good, text) = tell(&["bad.example.com", "--zone", &feed, "--json"]);
    let told: Value = serde_json::from_str(&text).expect("JSON");
    assert!(good && told["rule"]["place"]["written"][0]["line"] == 7, "{told:#}");
    assert!(told["undo"].is_null() && told["truth"].is_null(), "{told:#}");
    assert_consistent(&told);
}
