//! The life of a zone that is transferred: from the first start without it, over restarts and
//! reloads, to its end.

use crate::harness::backend::Backend;
use crate::harness::client::Udp;
use crate::harness::conf::Conf;
use crate::harness::feed::{Early, LONG, block, blocks, in_one_line, is_block, last_heard, many};
use crate::harness::plain::{Manner, Plain};
use crate::harness::primary::{Ixfr, Primary};
use crate::harness::process::{LOCAL, free_port, loopback};
use crate::harness::relay::{PROGRAM, Relay};
use crate::harness::stage::{Stage, assert_failed, assert_right};
use crate::harness::tls::Tls;
use crate::harness::wire::{A, Query};
use crate::harness::{eventually, millis, secs};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const ZONE: &str = "feed.test";
const BAD: &str = "bad.example.com";
const GOOD: &str = "good.example.com";
/// The answer is not ready yet (RFC 8914).
const NOT_READY: u16 = 14;
/// "The primary is dead": it refuses everything.
const REFUSED: u16 = 5;

/// A primary of [`ZONE`] with this version.
fn primary(serial: u32, triggers: &[&str]) -> Primary {
    let primary = Primary::start(ZONE);
    primary.version(serial, &blocks(ZONE, triggers));
    primary
}

/// A relay that has taken the zone from its primary and saved it.
#[track_caller]
fn taken(primary: &Primary, lines: &str) -> Stage {
    let stage = Stage::with(|conf| conf.transferred(ZONE, primary.address, lines));
    stage.relay.refresh(ZONE);
    assert!(stage.relay.blocks(BAD));
    stage.relay.until_saved(ZONE);
    stage
}

fn dead(primary: &Primary) {
    primary.script(|script| script.refuse = Some(REFUSED));
}

fn alive(primary: &Primary) {
    primary.script(|script| script.refuse = None);
}

// ── the first start ─────────────────────────────────────────────────────────────────────────

#[test]
fn a_cold_start_without_a_copy_waits_for_its_time_and_then_opens_with_an_alarm() {
    let (tls, nobody) = (Tls::new(), free_port(LOCAL));
    let backend = Backend::start(&tls);
    let conf = Conf::before(&tls, &[&backend]);
    let conf = conf.transferred(ZONE, nobody, "until_loaded = \"open-after-3s\"");
    let (early, start) = (Early::asking(conf.address, GOOD), Instant::now());
    let relay = conf.start();
    let client = relay.client();
    eventually("queries are answered without the zone", LONG, || {
        client.ask(&Query::new(GOOD, A)).rcode() == "NOERROR"
    });
    assert!(start.elapsed() >= secs(3), "not before its time: {:?}", start.elapsed());
    let answers = early.answers();
    assert_failed(&answers[0], &[NOT_READY]);
    let open = answers.iter().position(|answer| answer.rcode() != "SERVFAIL");
    let after = &answers[open.unwrap_or(answers.len())..];
    assert!(after.iter().all(|answer| answer.rcode() == "NOERROR"), "open is open: {after:?}");

    let log = relay.stderr_with("queries are answered WITHOUT it");
    assert!(log.contains(&nobody.to_string()), "who is to blame: {log}");
    assert_eq!(relay.state_of(ZONE), "waiting");
    let alarm = "ALARM: no version has come yet, so nothing is judged by it";
    assert!(relay.zones_told().contains(alarm), "{}", relay.zones_told());
    assert!(in_one_line(&relay.tell(&["status"])).contains(alarm));
    assert_eq!((relay.metric("zone_waiting", ZONE), relay.metric("zone_alarms", ZONE)), (1, 1));
}

#[test]
fn a_zone_that_is_waited_for_strictly_opens_when_it_comes_and_holds_up_nothing_else() {
    let primary = primary(7, &[BAD]);
    dead(&primary);
    let office = Plain::start(Manner::Right);
    let stage = Stage::with(|conf| {
        conf.plain("office", &[office.address])
            .route(&["corp.test"], "office")
            .with("[local.hosts]\n\"printer.lan.test\" = \"10.0.0.9\"")
            .policy("ahead.local", "ahead.example.com CNAME .")
            .transferred(ZONE, primary.address, "until_loaded = \"servfail\"")
            .policy("behind.local", "behind.example.com CNAME .")
            .with(
                "[[group]]\nname = \"lab\"\nclients = [\"127.0.0.9\"]\n\
                 policies = [\"ahead.local\", \"behind.local\"]",
            )
    });
    let relay = &stage.relay;
    let fails = |name: &str| assert_failed(&relay.ask(name, A), &[NOT_READY]);
    for name in [GOOD, BAD, "behind.example.com"] {
        fails(name);
    }
    assert_eq!(stage.backend.asked(GOOD), 0, "what could be blocked is not asked for");
    assert!(relay.blocks("ahead.example.com"));
    assert_eq!(relay.ask("printer.lan.test", A).data(A), ["10.0.0.9"]);
    assert_right(&relay.ask("www.corp.test", A), "www.corp.test");
    relay.tell(&["allow", "allowed.example.com", "--reason", "a ticket"]);
    relay.tell(&["block", "blocked.example.com", "--reason", "a ticket"]);
    assert!(!relay.blocks("allowed.example.com") && relay.blocks("blocked.example.com"));
    let lab = Udp::from(loopback(9), relay.address);
    let asked = |name: &str| lab.ask(&Query::new(name, A));
    assert!(!is_block(GOOD, &asked(GOOD)) && is_block("b", &asked("behind.example.com")));
    let told = relay.zones_told();
    assert!(told.contains("ALARM: queries fail until its first version is there"), "{told}");
    fails(GOOD);
    assert!(relay.refresh_fails(ZONE).contains("refuses"));
    fails(GOOD);

    alive(&primary);
    relay.refresh(ZONE);
    assert!(relay.blocks(BAD) && !relay.blocks(GOOD) && relay.blocks("behind.example.com"));
    assert_eq!((relay.state_of(ZONE).as_str(), relay.alarms_of(ZONE).as_str()), ("current", ""));
}

#[test]
fn an_operator_can_end_the_wait_by_a_reload() {
    let stage =
        Stage::with(|conf| conf.transferred(ZONE, free_port(LOCAL), "until_loaded = \"servfail\""));
    let mut relay = stage.relay;
    assert_failed(&relay.ask(GOOD, A), &[NOT_READY]);
    let strict = "until_loaded = \"servfail\"";
    let sections = relay.conf.sections.replace(strict, "until_loaded = \"open-after-1s\"");
    relay.conf.sections = sections;
    relay.conf.save();
    relay.reload();
    eventually("the wait is over", LONG, || relay.ask(GOOD, A).rcode() == "NOERROR");
    relay.stderr_with("queries are answered WITHOUT it");
}

// ── the saved copy ──────────────────────────────────────────────────────────────────────────

#[test]
fn after_a_restart_the_first_answer_is_the_policy_with_every_primary_dead() {
    let zones = ["enforce.test", "promoted.test", "watch.test"];
    let names = ["one.example.com", "two.example.com", "three.example.com"];
    let primaries: Vec<Primary> = zones.iter().map(|zone| Primary::start(zone)).collect();
    for (i, primary) in primaries.iter().enumerate() {
        primary.version(7 + i as u32, &blocks(zones[i], &[names[i]]));
    }
    let stage = Stage::with(|conf| {
        conf.transferred(zones[0], primaries[0].address, "")
            .transferred(zones[1], primaries[1].address, "mode = \"monitor\"")
            .transferred(zones[2], primaries[2].address, "mode = \"monitor\"")
    });
    for zone in zones {
        stage.relay.refresh(zone);
        stage.relay.until_saved(zone);
    }
    stage.relay.tell(&["zone", "promote", zones[1]]);
    let before: Vec<Value> = zones.iter().map(|zone| stage.relay.zone(zone)).collect();
    let Stage { relay, backend, tls: _tls } = stage;
    let conf = relay.killed();
    drop(primaries);
    for zone in zones {
        last_heard(&conf.copy_of(zone), secs(7200));
    }

    let early = [Early::asking(conf.address, names[0]), Early::asking(conf.address, names[1])];
    let relay = conf.start();
    for (early, name) in early.into_iter().zip(names) {
        for answer in early.answers() {
            assert_eq!(answer.rcode(), "NXDOMAIN", "{name}");
        }
        assert_eq!(backend.asked(name), 0, "{name} was never let through");
    }
    assert!(!relay.blocks(names[2]), "it only watches");
    eventually("the watching zone counts", LONG, || {
        relay.json(&["zone", "report", zones[2]])["queries"] == 1
    });
    for (zone, before) in zones.iter().zip(before) {
        let now = relay.zone(zone);
        for key in ["serial", "rules", "state", "mode", "triggers", "promoted"] {
            assert_eq!(now[key], before[key], "{key}: {now:#}");
        }
        let age = relay.metric("zone_contact_age_seconds", zone);
        assert!((7200..7260).contains(&age), "the source is not heard of yet: {age}");
        assert!(now["supply"]["saved"].is_string(), "{now:#}");
        assert!(now["age_s"].as_u64() >= before["age_s"].as_u64(), "{now:#}");
    }
    let log = relay.stderr();
    assert!(log.contains("serial 7, 1 rules, from its last good copy"), "{log}");
}

#[test]
fn a_damaged_copy_is_named_and_set_aside_and_the_zone_comes_anew() {
    let primary = primary(7, &[BAD]);
    let mut stage = taken(&primary, "until_loaded = \"servfail\"");
    let damage: [fn(&mut Vec<u8>); 5] = [
        |copy| {
            let middle = copy.len() / 2;
            copy[middle] ^= 1;
        },
        |copy| copy.truncate(copy.len() / 2),
        |copy| copy.truncate(0),
        |copy| copy.extend(b"more"),
        |copy| *copy = b"; a zone file that somebody put here\nbad.example CNAME .\n".to_vec(),
    ];
    for (i, damage) in damage.iter().enumerate() {
        let Stage { relay, backend, tls } = stage;
        let conf = relay.killed();
        let path = conf.copy_of(ZONE);
        let mut copy = std::fs::read(&path).expect("the copy");
        damage(&mut copy);
        std::fs::write(&path, &copy).expect("the damage is done");
        let relay = conf.start();
        let log = relay.stderr_with("its last good copy is of no use");
        let file = path.display().to_string();
        assert!(log.contains(&file) && log.contains(&format!("{file}.damaged-")), "{i}: {log}");
        relay.refresh(ZONE);
        assert!(relay.blocks(BAD), "{i}: it came from the primary");
        relay.until_saved(ZONE);
        let aside = std::fs::read_dir(path.parent().expect("a folder")).expect("it is there");
        let aside = aside.flatten().map(|entry| entry.path());
        let mut aside = aside.filter(|path| path.display().to_string().contains(".damaged-"));
        assert!(aside.any(|path| std::fs::read(path).expect("it") == copy), "{i}: it is kept");
        stage = Stage { relay, backend, tls };
    }
    assert_eq!(primary.asked().axfr, 1 + damage.len());
}

#[test]
fn a_copy_that_cannot_be_written_is_told_of_and_is_written_at_the_stop_if_it_can_be_then() {
    let primary = primary(7, &[BAD]);
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let conf = Conf::before(&tls, &[&backend]).transferred(ZONE, primary.address, "");
    let folder = conf.copy_of(ZONE).parent().expect("a folder").to_owned();
    std::fs::create_dir_all(folder.parent().expect("the state")).expect("it is created");
    // a file in the folder's place stops even those who may write everywhere
    std::fs::write(&folder, "in the way").expect("it is written");
    let relay = conf.start();
    relay.refresh(ZONE);
    assert!(relay.blocks(BAD), "its rules act");
    eventually("the fault is known", LONG, || relay.metric("zone_save_failed", ZONE) == 1);
    let told = relay.zones_told();
    assert!(told.contains("NOT SAVED") && told.contains("would not outlive a restart"), "{told}");
    assert!(relay.stderr_with("but would not outlive a restart").contains("state/zones"));

    std::fs::remove_file(&folder).expect("the cure");
    let conf = relay.stopped();
    dead(&primary);
    let early = Early::asking(conf.address, BAD);
    let _relay = conf.start();
    assert!(early.answers().iter().all(|answer| answer.rcode() == "NXDOMAIN"));
}

#[test]
fn a_full_disk_stops_no_policy() {
    let mut unshare = Command::new("unshare");
    let unshare = unshare.args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !unshare.as_ref().is_ok_and(|output| output.status.success()) {
        println!("left out: no mount namespace of our own: {unshare:?}");
        return;
    }
    let primary = Primary::start(ZONE);
    let mut records = many(ZONE, 5_000);
    records.push(block(ZONE, BAD));
    primary.version(7, &records);
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let conf = Conf::before(&tls, &[&backend]).transferred(ZONE, primary.address, "");
    let (state, file) = (conf.folder().join("state"), conf.file());
    let log = conf.folder().join("culvert.log");
    let relay = conf.launch_set(|command| {
        let log = std::fs::File::create(&log).expect("the log");
        let socket = command.get_envs().find_map(|(key, value)| {
            (key == "NOTIFY_SOCKET").then(|| value.map(ToOwned::to_owned)).flatten()
        });
        let mut full = Command::new("setpriv");
        full.args(["--pdeathsig", "KILL", "--", "unshare", "-m", "sh", "-c"])
            .arg("mount -t tmpfs -o size=16k none \"$1\" && exec \"$2\" run --config \"$3\"")
            .args(["sh".as_ref(), state.as_os_str(), PROGRAM.as_ref(), file.as_os_str()])
            .env("NOTIFY_SOCKET", socket.expect("it is set"))
            .stdout(log.try_clone().expect("the log is shared"))
            .stderr(log);
        *command = full;
    });
    relay.notified("READY=1", LONG).expect("it starts");
    relay.refresh(ZONE);
    assert!(relay.blocks(BAD));
    let log = relay.stderr_with("its rules act, but would not outlive a restart");
    assert!(log.contains("the disk is full"), "{log}");
    assert_eq!(relay.metric("zone_save_failed", ZONE), 1);
    let own = format!("/proc/{}/root{}", relay.process.id(), state.join("zones").display());
    let left = std::fs::read_dir(&own).expect("the folder").count();
    assert_eq!(left, 0, "nothing half-written takes the space");

    let pid = relay.process.id().to_string();
    let mount = ["-t", &pid, "-m", "mount", "-o", "remount,size=8m"];
    let cured = Command::new("nsenter").args(mount).arg(&state).status();
    assert!(cured.expect("nsenter runs").success());
    let Relay { mut process, .. } = relay;
    process.signal("TERM");
    assert!(process.wait(LONG).success());
    assert!(process.output().contains("its last good copy is saved again"), "{}", process.output());
}

#[test]
fn a_copy_that_somebody_deleted_is_written_again() {
    let primary = primary(7, &[BAD]);
    let stage = taken(&primary, "");
    std::fs::remove_file(stage.relay.conf.copy_of(ZONE)).expect("it was there");
    // the primary is heard once more, which is to be noted with the copy
    stage.relay.refresh(ZONE);
    let conf = stage.relay.stopped();
    dead(&primary);
    let relay = conf.start();
    assert!(relay.blocks(BAD), "{}", relay.stderr());
}

#[test]
fn a_relay_killed_at_any_moment_comes_back_with_one_whole_version() {
    // the gate does not judge so many
    const RULES: usize = 10_000;
    let written = |copy: &Path| std::fs::metadata(copy).and_then(|meta| meta.modified()).ok();
    let rules = |serial: u32| -> Vec<String> {
        let mut owners: Vec<_> = (0..RULES).map(|n| format!("n{n}.v{serial}.example")).collect();
        owners.sort_unstable();
        owners
    };
    let primary = Primary::start(ZONE);
    primary.script(|script| script.ixfr = Ixfr::Whole);
    let publish = |serial: u32| {
        let owners = rules(serial);
        primary.version(serial, &owners.iter().map(|o| block(ZONE, o)).collect::<Vec<_>>());
        primary.forget();
    };
    publish(1);
    let stage = Stage::with(|conf| conf.transferred(ZONE, primary.address, ""));
    let Stage { mut relay, backend: _backend, tls: _tls } = stage;
    relay.refresh(ZONE);
    relay.until_saved(ZONE);
    relay = relay.killed().start();
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..20_u32 {
        // each process saves the first version that it takes at once
        let newest = 2 + round;
        let copy = relay.conf.copy_of(ZONE);
        let (fresh, before) = (copy.with_extension("zone.new"), written(&copy));
        publish(newest);
        let asked = primary.asked().axfr + primary.asked().ixfr;
        alive(&primary);
        let file = relay.conf.file();
        let mut refresh = Command::new(PROGRAM);
        refresh.args(["zone", "refresh", ZONE, "--config"]).arg(&file);
        refresh.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let start = Instant::now();
        let mut refresh = refresh.spawn().expect("the command starts");
        while primary.asked().axfr + primary.asked().ixfr == asked {
            assert!(start.elapsed() < LONG, "the version is not asked for");
            std::thread::yield_now();
        }
        // any moment will do, and every second time the one in which the copy is written
        let end =
            Instant::now() + if round % 2 == 0 { millis(fastrand::u64(..60)) } else { secs(2) };
        while Instant::now() < end
            && (round % 2 == 0 || !fresh.exists() && written(&copy) == before)
        {
            std::thread::yield_now();
        }
        let Relay { process, conf, .. } = relay;
        drop(process);
        std::fs::remove_file(conf.folder().join("notify.sock")).expect("the old socket goes");
        let _ = refresh.wait();
        dead(&primary);
        relay = conf.start();
        let serial = relay.serial_of(ZONE) as u32;
        assert!((1..=newest).contains(&serial), "one that was published: {serial}");
        assert_eq!(relay.blocked_by(ZONE), rules(serial), "round {round}, serial {serial}");
        seen.insert(newest - serial);
    }
    assert!(seen.contains(&0), "no kill came after a new version was saved: {seen:?}");
    assert!(seen.len() > 1, "no kill came before a new version was saved: {seen:?}");
}

#[test]
fn a_stop_saves_what_is_not_saved_yet() {
    let primary = primary(7, &[BAD]);
    let stage = taken(&primary, "");
    // a version so soon after another is not written at once
    primary.version(8, &blocks(ZONE, &[BAD, "new.example.com"]));
    stage.relay.refresh(ZONE);
    assert!(stage.relay.blocks("new.example.com"));
    let Stage { relay, backend: _backend, tls: _tls } = stage;
    let conf = relay.stopped();
    dead(&primary);
    let early = Early::asking(conf.address, "new.example.com");
    let relay = conf.start();
    assert!(early.answers().iter().all(|answer| answer.rcode() == "NXDOMAIN"));
    assert_eq!(relay.serial_of(ZONE), 8);
}

#[test]
fn the_state_of_zones_is_for_owner_and_group_only() {
    let primary = primary(7, &[BAD]);
    let stage = taken(&primary, "");
    let copy = stage.relay.conf.copy_of(ZONE);
    let mode =
        |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&copy), mode(copy.parent().expect("a folder"))), (0o640, 0o750));
}

// ── age ─────────────────────────────────────────────────────────────────────────────────────

/// The relay is started anew with its primary dead and its copy this many hours old.
#[track_caller]
fn aged(stage: Stage, primary: &Primary, hours: u64) -> Stage {
    dead(primary);
    let Stage { relay, backend, tls } = stage;
    let conf = relay.stopped();
    last_heard(&conf.copy_of(ZONE), secs(hours * 3600));
    Stage { relay: conf.start(), backend, tls }
}

#[test]
fn a_zone_past_its_expire_time_is_kept_with_an_alarm() {
    let primary = primary(7, &[BAD]);
    // the SOA: refresh after one hour, expire after a day
    let stage = aged(taken(&primary, ""), &primary, 48);
    let relay = &stage.relay;
    assert!(relay.blocks(BAD));
    assert_eq!(relay.state_of(ZONE), "expired");
    assert!(relay.alarms_of(ZONE).starts_with("expired, its source was last heard 20"));
    assert!(relay.zones_told().contains("ALARM: expired"), "{}", relay.zones_told());
    assert_eq!(relay.metric("zone_expired", ZONE), 1);
    alive(&primary);
    relay.refresh(ZONE);
    assert_eq!((relay.state_of(ZONE).as_str(), relay.alarms_of(ZONE).as_str()), ("current", ""));
}

#[test]
fn an_expired_zone_is_withdrawn_where_that_is_wanted_until_it_is_heard_of() {
    let primary = primary(7, &[BAD]);
    let withdraw = "expired = \"withdraw\"";
    let mut stage = taken(&primary, withdraw);
    dead(&primary);
    let Stage { relay, backend, tls } = stage;
    let conf = relay.stopped();
    last_heard(&conf.copy_of(ZONE), secs(48 * 3600));
    let early = Early::asking(conf.address, BAD);
    let relay = conf.start();
    eventually("it is told", LONG, || relay.stderr().contains("its rules do not act any more"));
    let first = early.answers();
    assert!(first.iter().all(|answer| answer.rcode() == "NOERROR"), "from the first: {first:?}");
    assert!(!relay.blocks(BAD));
    assert_eq!(relay.state_of(ZONE), "withdrawn");
    assert!(relay.alarms_of(ZONE).contains("its rules do NOT act"));
    assert_eq!(relay.metric("zone_alarms", ZONE), 1);
    alive(&primary);
    relay.refresh(ZONE);
    assert!(relay.blocks(BAD), "contact brings it back");
    assert_eq!(relay.state_of(ZONE), "current");

    // and so does the operator's word
    stage = aged(Stage { relay, backend, tls }, &primary, 48);
    eventually("it is withdrawn", LONG, || stage.relay.state_of(ZONE) == "withdrawn");
    let sections = stage.relay.conf.sections.replace(withdraw, "expired = \"keep\"");
    stage.relay.conf.sections = sections;
    stage.relay.conf.save();
    stage.relay.reload();
    assert!(stage.relay.blocks(BAD));
    assert_eq!(stage.relay.state_of(ZONE), "expired");
}

#[test]
fn a_zone_that_is_not_heard_of_for_long_raises_an_alarm() {
    let primary = primary(7, &[BAD]);
    let stage = aged(taken(&primary, "alarm_after = 3"), &primary, 4);
    assert_eq!(stage.relay.state_of(ZONE), "stale");
    assert!(stage.relay.alarms_of(ZONE).starts_with("its source was last heard 20"));
    assert_eq!(stage.relay.metric("zone_stale", ZONE), 1);
    assert!(stage.relay.blocks(BAD));
    let stage = aged(stage, &primary, 2);
    assert_eq!(
        (stage.relay.state_of(ZONE).as_str(), stage.relay.alarms_of(ZONE).as_str()),
        ("current", "")
    );
}

// ── reload ──────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_zone_added_by_reload_judges_nothing_until_it_is_there_unless_a_copy_is() {
    let primary = primary(7, &[BAD]);
    let mut stage = taken(&primary, "until_loaded = \"servfail\"");
    let with = stage.relay.conf.sections.clone();
    let at = with.find("[[policy]]").expect("its table");
    let set = |stage: &mut Stage, sections: &str| {
        stage.relay.conf.sections = sections.to_owned();
        stage.relay.conf.save();
        stage.relay.reload();
    };
    set(&mut stage, &with[..at]);
    assert!(!stage.relay.blocks(BAD), "the zone is gone");
    dead(&primary);
    set(&mut stage, &with);
    assert!(stage.relay.blocks(BAD), "from the copy, at once");
    let other = with.replace(ZONE, "other.test");
    set(&mut stage, &other);
    assert!(!stage.relay.blocks(BAD) && !stage.relay.blocks(GOOD), "nobody waits for it");
    assert_eq!(stage.relay.state_of("other.test"), "waiting");
    eventually("the alarm tells why", LONG, || {
        stage.relay.alarms_of("other.test").contains("does not serve this zone")
    });
    assert!(stage.relay.alarms_of("other.test").contains("nothing is judged by it"));
}

#[test]
fn a_reload_keeps_rules_and_timers_and_takes_a_new_order() {
    let primary = primary(7, &[BAD]);
    let mut stage = Stage::with(|conf| {
        conf.transferred(ZONE, primary.address, "")
            .policy("let.local", "bad.example.com CNAME rpz-passthru.")
    });
    stage.relay.refresh(ZONE);
    assert!(stage.relay.blocks(BAD));
    let supply = |stage: &Stage, key: &str| stage.relay.zone(ZONE)["supply"][key].clone();
    let second = |v: Value| v.as_str().expect("a time")[..19].to_owned();
    let (due, asked) = (second(supply(&stage, "next_try")), primary.asked());
    let connections = stage.backend.seen().handshakes;
    stage.relay.reload();
    assert!(stage.relay.blocks(BAD));
    assert_eq!(second(supply(&stage, "next_try")), due);
    assert_eq!((primary.asked(), stage.backend.seen().handshakes), (asked, connections));

    let sections = stage.relay.conf.sections.clone();
    let [first, second] = [ZONE, "let.local"].map(|zone| {
        let at = sections.find(&format!("[[policy]]\nzone = \"{zone}\"")).expect("its table");
        let rest = &sections[at + 1..];
        let end = rest.find("[[policy]]").map_or(sections.len(), |end| at + 1 + end);
        sections[at..end].to_owned()
    });
    let service = &sections[..sections.find("[[policy]]").expect("policies")];
    stage.relay.conf.sections = format!("{service}{second}{first}");
    stage.relay.conf.save();
    stage.relay.reload();
    assert!(!stage.relay.blocks(BAD), "the zone ahead lets it through");
    assert_eq!(primary.asked(), asked, "what is there is not fetched again");
    stage.relay.conf.sections = format!("{service}{first}{second}");
    stage.relay.conf.save();
    stage.relay.reload();
    assert!(stage.relay.blocks(BAD));
}

#[test]
fn a_file_that_becomes_a_transfer_and_a_file_again() {
    let primary = primary(7, &[BAD]);
    let mut stage = Stage::with(|conf| conf.policy(ZONE, "old.example.com CNAME ."));
    assert!(stage.relay.blocks("old.example.com"));
    let as_file = stage.relay.conf.sections.clone();
    let service = as_file[..as_file.find("[[policy]]").expect("its table")].to_owned();
    stage.relay.conf.sections = service;
    let primaries = format!("primaries = [\"{}\"]", primary.address);
    let table = format!("[[policy]]\nzone = \"{ZONE}\"\n{primaries}\n");
    stage.relay.conf.sections.push_str(&table);
    stage.relay.conf.save();
    stage.relay.reload();
    assert!(!stage.relay.blocks(GOOD), "queries are answered meanwhile");
    stage.relay.until_blocks(BAD);
    assert!(!stage.relay.blocks("old.example.com"));
    assert_eq!((stage.relay.serial_of(ZONE), stage.relay.state_of(ZONE)), (7, "current".into()));
    stage.relay.conf.sections = as_file;
    stage.relay.conf.save();
    stage.relay.reload();
    assert!(stage.relay.blocks("old.example.com") && !stage.relay.blocks(BAD));
}

// ── files ───────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_file_written_in_place_or_behind_a_link_is_noticed() {
    let stage = Stage::with(|conf| conf.policy(ZONE, "one.example.com CNAME ."));
    let file = stage.relay.conf.zone_file(ZONE);
    let text = std::fs::read_to_string(&file).expect("the zone");
    let of = |name: &str| text.replace("one.example.com", name).replace(" 1 3600", " 2 3600");
    std::fs::write(&file, of("two.example.com")).expect("written in place");
    stage.relay.until_blocks("two.example.com");
    assert!(!stage.relay.blocks("one.example.com"));

    let folder = stage.relay.conf.folder();
    for name in ["three", "four"] {
        let (target, link) = (folder.join(name), folder.join("link.new"));
        let rule = format!("{name}.example.com");
        std::fs::write(&target, of(&rule)).expect("a version beside it");
        std::os::unix::fs::symlink(&target, &link).expect("a link");
        std::fs::rename(&link, &file).expect("the link takes the file's place");
        stage.relay.until_blocks(&rule);
    }
    assert!(!stage.relay.blocks("three.example.com"));
}
