//! What the relay tells its operator: the hit log, metrics, health, and what it never tells.

use crate::harness::backend::PATH;
use crate::harness::conf::Conf;
use crate::harness::script::Script;
use crate::harness::stage::{Stage, assert_right};
use crate::harness::wire::{A, AAAA, Query, Record};
use crate::harness::{eventually, secs};
use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::net::TcpStream;

const RULES: &str = "nx.example.com      CNAME .
    *.wild.example.com  CNAME *.
    pass.example.com    CNAME rpz-passthru.
    drop.example.com    CNAME rpz-drop.
    tcp.example.com     CNAME rpz-tcp-only.
    data.example.com    A 192.0.2.1
    alias.example.com   CNAME garden.example.net.
    *.each.example.com  CNAME *.garden.example.net.";

fn with_rules(conf: Conf) -> Conf {
    conf.policy("block.local", RULES)
}

/// Asks for each name once, whatever comes back.
fn ask_all(stage: &Stage, names: &[&str]) {
    for name in names {
        let client = stage.relay.client();
        client.send(&Query::new(name, A).bytes());
        let wait = if name.starts_with("drop") { crate::harness::millis(100) } else { secs(5) };
        client.receive(wait);
    }
}

const HITS: [(&str, &str, &str); 8] = [
    ("nx.example.com", "nx.example.com.block.local", "NXDOMAIN"),
    ("a.b.wild.example.com", "*.wild.example.com.block.local", "NODATA"),
    ("pass.example.com", "pass.example.com.block.local", "PASSTHRU"),
    ("drop.example.com", "drop.example.com.block.local", "DROP"),
    ("tcp.example.com", "tcp.example.com.block.local", "TCP-ONLY"),
    ("data.example.com", "data.example.com.block.local", "Local-Data"),
    ("alias.example.com", "alias.example.com.block.local", "Local-Data"),
    ("x.each.example.com", "*.each.example.com.block.local", "CNAME"),
];

#[test]
fn every_hit_is_one_line_of_json_that_names_the_rule() {
    let stage = Stage::with(with_rules);
    ask_all(&stage, &HITS.map(|(name, ..)| name));
    let hits = stage.relay.hits(HITS.len());
    for (hit, (name, rule, action)) in hits.iter().zip(HITS) {
        assert_eq!(hit["qname"], name);
        assert_eq!(hit["rule"], rule, "{name}");
        assert_eq!(hit["action"], action, "{name}");
        assert_eq!(hit["qtype"], "A");
        assert_eq!(hit["zone"], "block.local");
        assert_eq!(hit["trigger"], "QNAME");
        assert_eq!(hit["mode"], "enforce");
        assert_eq!(hit["client"], "127.0.0.1");
        assert_eq!(hit["server"], "relay-under-test");
        let time = hit["time"].as_str().unwrap_or_default();
        assert!(time.starts_with("20") && time.contains('T'), "RFC 3339: {time}");
    }
}

#[test]
fn local_data_without_the_type_is_logged_as_nodata() {
    let stage = Stage::with(with_rules);
    stage.relay.ask("data.example.com", AAAA);
    assert_eq!(stage.relay.hits(1)[0]["action"], "NODATA");
}

#[test]
fn bind_form_is_what_binds_tools_read() {
    let stage = Stage::with(|mut conf| {
        conf.log = conf.log.replace("json", "bind");
        with_rules(conf)
    });
    ask_all(&stage, &["nx.example.com", "a.b.wild.example.com"]);
    eventually("both lines are there", secs(5), || stage.relay.hit_lines().len() == 2);
    let lines = stage.relay.hit_lines();
    let exact = "rpz QNAME NXDOMAIN rewrite nx.example.com/A/IN via nx.example.com.block.local";
    assert!(lines[0].contains(exact), "{}", lines[0]);
    assert!(lines[0].contains(" 127.0.0.1#"), "{}", lines[0]);
    let wild = "rpz QNAME NODATA rewrite a.b.wild.example.com/A/IN via \
                a.b.wild.example.com.block.local";
    assert!(lines[1].contains(wild), "{}", lines[1]);
}

#[test]
fn a_clean_query_leaves_no_line_anywhere() {
    let stage = Stage::with(with_rules);
    stage.backend.set_for("broken.example.com", Script::servfail());
    stage.backend.set_for("wrong.example.com", Script::status(500));
    ask_all(&stage, &["private.example.com", "broken.example.com", "wrong.example.com"]);
    stage.relay.tcp(&Query::new("private.example.com", A));
    ask_all(&stage, &["nx.example.com"]);
    stage.relay.hits(1);
    let everywhere = stage.relay.stderr() + &stage.relay.status().to_string();
    for name in ["private", "broken", "wrong"] {
        assert!(!everywhere.contains(&format!("{name}.example.com")), "{name}: {everywhere}");
    }
}

#[test]
fn a_hit_behind_an_alias_names_the_query_and_the_rule() {
    let stage = Stage::with(with_rules);
    stage.backend.add(&[Record::cname("front.example.com", 300, "nx.example.com")]);
    for _ in 0..2 {
        assert_eq!(stage.relay.ask("front.example.com", A).rcode(), "NXDOMAIN");
    }
    for hit in stage.relay.hits(2) {
        assert_eq!(hit["qname"], "front.example.com");
        assert_eq!(hit["rule"], "nx.example.com.block.local");
    }
}

#[test]
fn hostile_names_stay_one_line_of_plain_text() {
    let stage = Stage::with(|conf| conf.policy("block.local", "*.example.com CNAME ."));
    let names = [
        r"\027[2J\027[1mred.example.com",
        r"line\010break.example.com",
        r"quote\034back\\slash.example.com",
        r"nul\000.example.com",
        r"high\255\128.example.com",
        r"<script>alert(1)</script>.example.com",
        r"%s%n%x.example.com",
        r"a\.b\032c.example.com",
        r"}{.example.com",
    ];
    for name in names {
        assert_eq!(stage.relay.ask(name, A).rcode(), "NXDOMAIN", "{name}");
    }
    let hits = stage.relay.hits(names.len());
    for line in stage.relay.hit_lines() {
        assert!(line.bytes().all(|b| (0x20..0x7F).contains(&b)), "printable ASCII: {line:?}");
    }
    let qnames: HashSet<_> = hits.iter().filter_map(|h| h["qname"].as_str()).collect();
    assert_eq!(qnames.len(), names.len(), "each name can be told from the others");
    for hit in &hits {
        let text = hit["qname"].as_str().expect("a string");
        assert!(text.bytes().all(|b| (0x20..0x7F).contains(&b)), "also once decoded: {text:?}");
    }
}

/// Every sample of the exposition by its name with labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("a sample: {line}"));
        let value = value.parse().unwrap_or_else(|_| panic!("a number: {line}"));
        let metric = name.split('{').next().unwrap_or_default();
        let lawful = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        assert!(!metric.is_empty() && metric.chars().all(lawful), "a metric name: {line}");
        if let Some((_, labels)) = name.split_once('{') {
            assert!(labels.ends_with('}'), "closed labels: {line}");
        }
        assert!(found.insert(name.to_owned(), value).is_none(), "one sample each: {line}");
    }
    found
}

#[test]
fn metrics_can_be_read_and_health_be_asked() {
    let stage = Stage::with(with_rules);
    ask_all(&stage, &["nx.example.com", "www.example.com", "www.example.com"]);
    let (code, text) = stage.relay.http("/metrics");
    assert_eq!(code, 200);
    let first = samples(&text);
    assert!(first.keys().all(|k| k.starts_with("culvert_") || k.starts_with("process_")), "{text}");
    let received = |samples: &BTreeMap<String, f64>| -> f64 {
        let of = |k: &String| k.starts_with("culvert_") && k.contains("received");
        samples.iter().filter(|(k, _)| of(k)).map(|(_, v)| v).sum()
    };
    assert!(received(&first) >= 3.0, "{text}");
    ask_all(&stage, &["www.example.com"]);
    let second = samples(&stage.relay.http("/metrics").1);
    assert!(received(&second) > received(&first));
    let (code, _) = stage.relay.http("/healthz");
    assert_eq!(code, 200);
    assert_eq!(stage.relay.http("/nothing-here").0, 404);
    assert!(!text.contains("example.com"), "no query names in metrics: {text}");
    assert_right(&stage.relay.ask("www.example.com", A), "www.example.com");
}

#[test]
fn the_secret_path_is_told_to_nobody() {
    let mut stage = Stage::with(|conf| {
        let conf = with_rules(conf);
        Conf {
            sections: conf.sections.replace("ca = ", "paths = [\"/secret-new-9c\"]\nca = "),
            ..conf
        }
    });
    ask_all(&stage, &["nx.example.com", "www.example.com"]);
    for script in
        [Script::status(404), Script::status(500), Script::CutBody(9), Script::wrong_question()]
    {
        stage.backend.set(script);
        stage.relay.ask(&format!("n{}.example.com", stage.backend.seen().requests.len()), A);
    }
    stage.backend.die();
    stage.relay.ask("dead.example.com", A);
    let mut told = vec![stage.relay.stderr(), stage.relay.hit_lines().join("\n")];
    told.extend([stage.relay.status().to_string(), stage.relay.tell(&["status"])]);
    told.extend([stage.relay.http("/metrics").1, stage.relay.http("/").1]);
    for args in [&["probe"][..], &["check"], &["cache", "show", "www.example.com"]] {
        let output = stage.relay.command(args);
        told.push(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned());
    }
    // A configuration that is refused must not be quoted either.
    stage.relay.conf.sections = stage.relay.conf.sections.replace("https://", "htps://");
    stage.relay.conf.save();
    for args in [["check"], ["reload"]] {
        let output = stage.relay.command(&args);
        told.push(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned());
    }
    stage.relay.process.signal("TERM");
    stage.relay.process.wait(secs(8));
    told.push(stage.relay.stderr());
    for text in told {
        for secret in [PATH, "secret-org", "fragment", "secret-new"] {
            assert!(!text.contains(secret), "{secret} in:\n{text}");
        }
    }
}

#[test]
fn the_log_may_be_rotated_by_rename() {
    let stage = Stage::with(with_rules);
    ask_all(&stage, &["nx.example.com"]);
    stage.relay.hits(1);
    let old = stage.relay.conf.folder().join("hits.log.1");
    std::fs::rename(stage.relay.conf.hits(), &old).expect("the log is renamed");
    stage.relay.process.signal("HUP");
    eventually("the log is open again", secs(5), || stage.relay.conf.hits().exists());
    ask_all(&stage, &["nx.example.com"]);
    stage.relay.hits(1);
    let text = std::fs::read_to_string(old).expect("the old log is there");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn a_full_disk_costs_lines_and_no_answers() {
    let stage = Stage::with(|mut conf| {
        conf.log = "hits = \"/dev/full\"\n".into();
        conf.policy("block.local", "*.example.com CNAME .")
    });
    for n in 0..300 {
        assert_eq!(stage.relay.ask(&format!("n{n}.example.com"), A).rcode(), "NXDOMAIN");
    }
    eventually("lost lines are counted", secs(5), || stage.relay.count("/log/dropped") > 0);
}

#[test]
fn slow_and_rude_http_clients_do_not_matter() {
    let stage = Stage::new();
    let connect = || TcpStream::connect(stage.relay.conf.status).expect("the listener accepts");
    let mut slow: Vec<_> = (0..20).map(|_| connect()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /metrics HTT").expect("a part of a request is sent");
    }
    let mut rude = connect();
    let head = b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n";
    rude.write_all(head).expect("a head is sent");
    let _ = rude.write_all(&[b'x'; 100_000]);
    for n in 0..10 {
        let name = format!("n{n}.example.com");
        assert_right(&stage.relay.ask(&name, A), &name);
    }
    drop(slow);
    assert_eq!(stage.relay.http("/healthz").0, 200);
}
