//! How policy comes into force, changes, and survives bad files.

use crate::harness::backend::Backend;
use crate::harness::conf::Conf;
use crate::harness::stage::{Stage, assert_right};
use crate::harness::tls::Tls;
use crate::harness::wire::A;
use crate::harness::{eventually, secs};
use std::fmt::Write as _;

const ZONE: &str = "block.local";

fn with_rules(rules: &str) -> Stage {
    Stage::with(|conf| conf.policy(ZONE, rules))
}

fn blocked(stage: &Stage, name: &str) -> bool {
    stage.relay.ask(name, A).rcode() == "NXDOMAIN"
}

#[test]
fn a_new_rule_acts_on_cached_names_at_once_and_so_does_its_end() {
    let stage = with_rules("other.example.com CNAME .");
    assert_right(&stage.relay.ask("www.example.com", A), "www.example.com");
    stage.relay.conf.write_zone(ZONE, 2, "www.example.com CNAME .");
    stage.relay.reload();
    assert!(blocked(&stage, "www.example.com"), "the first query after the reload");
    assert!(!blocked(&stage, "other.example.com"));
    stage.relay.conf.write_zone(ZONE, 3, "other.example.com CNAME .");
    stage.relay.reload();
    assert_right(&stage.relay.ask("www.example.com", A), "www.example.com");
    assert_eq!(stage.backend.asked("www.example.com"), 1, "from the cache, which kept the truth");
    assert!(blocked(&stage, "other.example.com"));
}

#[test]
fn a_replaced_file_is_noticed_without_a_word() {
    let stage = with_rules("other.example.com CNAME .");
    assert_right(&stage.relay.ask("www.example.com", A), "www.example.com");
    stage.relay.conf.write_zone(ZONE, 2, "www.example.com CNAME .");
    eventually("the new rule is in force", secs(10), || blocked(&stage, "www.example.com"));
    assert_eq!(stage.relay.zone(ZONE)["serial"], 2);
}

#[test]
fn the_status_tells_what_is_in_force() {
    let stage = Stage::with(|conf| {
        conf.policy(ZONE, "a.example.com CNAME .\n*.a.example.com CNAME .\nb.example.com CNAME .")
            .policy_with("watch.local", "c.example.com CNAME .", "mode = \"monitor\"")
    });
    let (block, watch) = (stage.relay.zone(ZONE), stage.relay.zone("watch.local"));
    assert_eq!((&block["rules"], &block["serial"]), (&3.into(), &1.into()), "{block:#}");
    assert_eq!((&block["mode"], &block["skipped"]), (&"enforce".into(), &0.into()), "{block:#}");
    assert_eq!((&watch["rules"], &watch["mode"]), (&1.into(), &"monitor".into()), "{watch:#}");
    assert!(block["error"].is_null() || block["error"] == "", "{block:#}");
}

#[test]
fn a_broken_file_keeps_the_old_rules_and_says_where_it_is_broken() {
    let stage = with_rules("old.example.com CNAME .");
    let file = stage.relay.conf.zone_file(ZONE);
    let broken = [
        // No SOA at all.
        "$TTL 300\n$ORIGIN block.local.\nnew.example.com CNAME .\n",
        // Nothing at all.
        "",
        // An open parenthesis.
        "$TTL 300\n$ORIGIN block.local.\n@ SOA ns. host. 2 1 1 1 1\n@ NS ns.\n\
         new.example.com CNAME .\nx TXT ( \"never closed\"\n",
    ];
    for text in broken {
        std::fs::write(&file, text).expect("the zone file is written");
        let _ = stage.relay.command(&["reload"]);
        eventually("the status has the error", secs(5), || {
            let error = stage.relay.zone(ZONE)["error"].as_str().unwrap_or_default().to_owned();
            error.contains("block.local.rpz")
        });
        assert!(blocked(&stage, "old.example.com"), "{text:?}");
        assert!(!blocked(&stage, "new.example.com"), "{text:?}");
        assert_eq!(stage.relay.zone(ZONE)["serial"], 1);
    }
    let error = stage.relay.zone(ZONE)["error"].as_str().unwrap_or_default().to_owned();
    assert!(error.contains("block.local.rpz:6"), "file and line: {error}");

    stage.relay.conf.write_zone(ZONE, 9, "new.example.com CNAME .");
    stage.relay.reload();
    assert!(blocked(&stage, "new.example.com") && !blocked(&stage, "old.example.com"));
    let zone = stage.relay.zone(ZONE);
    assert!(zone["error"].is_null() || zone["error"] == "", "{zone:#}");
}

#[test]
fn a_file_that_is_gone_keeps_the_old_rules() {
    let stage = with_rules("old.example.com CNAME .");
    std::fs::remove_file(stage.relay.conf.zone_file(ZONE)).expect("the file was there");
    let _ = stage.relay.command(&["reload"]);
    assert!(blocked(&stage, "old.example.com"));
    stage.relay.conf.write_zone(ZONE, 2, "new.example.com CNAME .");
    eventually("the file is back", secs(10), || blocked(&stage, "new.example.com"));
}

#[test]
fn one_bad_record_does_not_cost_the_zone() {
    let stage = with_rules(
        "good1.example.com CNAME .
         bad1.example.com  A not-an-address
         good2.example.com CNAME .
         bad2.example.com  NONSENSE x
         bad3..example.com CNAME .
         stranger.example.org. CNAME .
         good3.example.com CNAME .",
    );
    for name in ["good1.example.com", "good2.example.com", "good3.example.com"] {
        assert!(blocked(&stage, name), "{name}");
    }
    for name in ["bad1.example.com", "bad2.example.com", "stranger.example.org"] {
        assert!(!blocked(&stage, name), "{name}");
    }
    let zone = stage.relay.zone(ZONE);
    assert_eq!((&zone["rules"], &zone["skipped"]), (&3.into(), &4.into()), "{zone:#}");
}

#[test]
fn odd_but_lawful_files_are_understood() {
    let stage = with_rules("placeholder.example.com CNAME .");
    let text = "\u{feff}$TTL 1h\r\n$ORIGIN local.\r\n\
        block IN 300 SOA ns.block host.block ( 7 ; serial\r\n 3600 600 1d 60 )\r\n\
        block NS localhost.\r\n$ORIGIN block.local.\r\n\
        one.example.com 1m30s IN CNAME . ; a comment\r\n\
        two.example.com. IN CNAME .\r\n\
        \ttxt\tTXT\t\"a;b\" \"c\"\r\n\
        three.example.com.block.local. CNAME .";
    std::fs::write(stage.relay.conf.zone_file(ZONE), text).expect("the zone file is written");
    stage.relay.reload();
    for name in ["one.example.com", "three.example.com"] {
        assert!(blocked(&stage, name), "{name}");
    }
    // An absolute owner outside the zone is no rule of it.
    assert!(!blocked(&stage, "two.example.com"));
    assert_eq!(stage.relay.zone(ZONE)["serial"], 7);
}

#[test]
fn a_zone_file_that_is_missing_is_refused_at_the_start() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let conf = Conf::before(&tls, &[&backend]).policy(ZONE, "");
    std::fs::remove_file(conf.zone_file(ZONE)).expect("the file was there");
    let mut relay = conf.launch(&[]);
    assert_ne!(relay.process.wait(secs(10)).code(), Some(0), "never open without its policy");
    let said = relay.stderr();
    assert!(said.contains("culvert.toml:") && said.contains("block.local.rpz"), "{said}");
}

#[test]
fn a_hundred_thousand_rules_load_and_match() {
    let mut rules = String::new();
    for n in 0..50_000 {
        write!(rules, "d{n}.example.net CNAME .\n*.d{n}.example.net CNAME .\n")
            .expect("a String takes all");
    }
    let stage = with_rules("first.example.com CNAME .");
    stage.relay.conf.write_zone(ZONE, 2, &rules);
    stage.relay.reload();
    assert_eq!(stage.relay.zone(ZONE)["rules"], 100_000);
    for n in [0, 1, 777, 49_999] {
        assert!(blocked(&stage, &format!("d{n}.example.net")));
        assert!(blocked(&stage, &format!("x.y.d{n}.example.net")));
    }
    assert!(!blocked(&stage, "d50000.example.net") && !blocked(&stage, "first.example.com"));
}

#[test]
fn hostile_files_neither_hang_nor_kill_the_relay() {
    let head = "$TTL 300\n$ORIGIN block.local.\n@ SOA ns. host. 2 1 1 1 1\n@ NS ns.\n";
    let stage = with_rules("old.example.com CNAME .");
    let file = stage.relay.conf.zone_file(ZONE);
    let long = "x".repeat(70_000);
    let texts = [
        format!("{head}$INCLUDE {}\n", file.display()),
        format!("{head}$GENERATE 1-2147483647 h$ CNAME .\n"),
        format!("{head}{long} CNAME .\n"),
        format!("{head}a\0b.example.com CNAME .\n\0\0\0\n"),
        format!("{head}t TXT \"{long}\"\n"),
        format!("{head}$ORIGIN {}.\n", "a.".repeat(200)),
        "\u{0}".repeat(10_000),
    ];
    for text in texts {
        std::fs::write(&file, &text).expect("the zone file is written");
        let _ = stage.relay.command(&["reload"]);
        assert!(!blocked(&stage, "www.example.com"), "{:.80}", text);
    }
    std::fs::remove_file(&file).expect("the file was there");
    std::fs::create_dir(&file).expect("a folder in its place");
    let _ = stage.relay.command(&["reload"]);
    assert!(!blocked(&stage, "www.example.com"));
    std::fs::remove_dir(&file).expect("the folder was there");
    stage.relay.conf.write_zone(ZONE, 9, "new.example.com CNAME .");
    stage.relay.reload();
    assert!(blocked(&stage, "new.example.com"));
}

#[test]
fn a_changed_include_file_is_noticed_without_a_word() {
    let stage = Stage::with(|conf| {
        std::fs::write(conf.folder().join("more.rules"), "one.example.com CNAME .\n")
            .expect("the included file is written");
        conf.policy(ZONE, "zero.example.com CNAME .\n$INCLUDE more.rules")
    });
    let more = stage.relay.conf.folder().join("more.rules");
    assert!(blocked(&stage, "zero.example.com") && blocked(&stage, "one.example.com"));

    std::fs::write(&more, "two.example.com CNAME .\n").expect("it is written in place");
    eventually("what was written is in force", secs(10), || blocked(&stage, "two.example.com"));
    assert!(!blocked(&stage, "one.example.com"));

    let fresh = more.with_extension("new");
    std::fs::write(&fresh, "three.example.com CNAME .\n").expect("a new file is written");
    std::fs::rename(&fresh, &more).expect("it is renamed");
    eventually("the new file is in force", secs(10), || blocked(&stage, "three.example.com"));
    assert!(!blocked(&stage, "two.example.com"));

    std::fs::remove_file(&more).expect("the file was there");
    eventually("the status names what is missing", secs(10), || {
        let error = stage.relay.zone(ZONE)["error"].as_str().unwrap_or_default().to_owned();
        error.contains("more.rules")
    });
    assert!(blocked(&stage, "three.example.com"), "the old rules are kept");
    std::fs::write(&more, "four.example.com CNAME .\n").expect("the file comes back");
    eventually("the file is back", secs(10), || blocked(&stage, "four.example.com"));
    assert!(blocked(&stage, "zero.example.com"));
    let zone = stage.relay.zone(ZONE);
    assert!(zone["error"].is_null() || zone["error"] == "", "{zone:#}");
}
