//! The life of a zone that is downloaded: what the relay makes of a list's versions and faults.

use crate::harness::backend::Backend;
use crate::harness::conf::Conf;
use crate::harness::eventually;
use crate::harness::feed::{Early, LONG};
use crate::harness::relay::Relay;
use crate::harness::tls::{HOST, Tls};
use crate::harness::web::{Page, Web};
use crate::harness::wire::Record;
use std::fmt::Write as _;

const ZONE: &str = "list.test";
/// Paths may be secrets: this word must be in no message.
const PATH: &str = "/secret/list.txt";
const BAD: &str = "bad.example.com";
const NEW: &str = "new.example.com";
const DOMAINS: &str = "format = \"domains\"\n";

/// A relay, the server of its list, and what both stand on.
struct World {
    relay: Relay,
    web: Web,
    backend: Backend,
    tls: Tls,
}

impl World {
    /// The list is under [`PATH`] and has come.
    #[track_caller]
    fn with(page: Page, lines: &str) -> World {
        let world = World::without(page, lines);
        world.relay.refresh(ZONE);
        world
    }

    /// The list is under [`PATH`] and need not come.
    #[track_caller]
    fn without(page: Page, lines: &str) -> World {
        let tls = Tls::new();
        let (backend, web) = (Backend::start(&tls), Web::start(&tls));
        web.set(PATH, page);
        let conf = Conf::before(&tls, &[&backend]);
        let relay = conf.downloaded(ZONE, &web, &tls, PATH, lines).start();
        World { relay, web, backend, tls }
    }

    /// What the relay says of a refresh that has to fail; it keeps the path to itself.
    #[track_caller]
    fn fault(&self) -> String {
        let said = self.relay.refresh_fails(ZONE);
        let outcome = self.relay.zone(ZONE)["supply"]["last_outcome"].clone();
        assert!(said.contains(outcome.as_str().expect("a reason")), "{outcome}: {said}");
        assert!(self.relay.zones_told().contains("the last try failed"));
        for text in [said.clone(), self.relay.zones_told(), self.relay.stderr()] {
            assert!(!text.contains("secret"), "{text}");
        }
        said
    }
}

#[test]
fn a_list_comes_once_for_each_version_and_packed() {
    let world = World::with(Page::list("bad.example.com\n"), DOMAINS);
    let relay = &world.relay;
    assert!(relay.blocks(BAD) && !relay.blocks(NEW));
    assert!(world.web.last().field("accept-encoding").contains("gzip"));
    let generation = relay.count("/generation");
    let said = relay.refresh(ZONE);
    assert!(said.contains("not modified") && said.contains(HOST), "{said}");
    assert_ne!(world.web.last().field("if-none-match"), "");
    assert_eq!(relay.count("/generation"), generation);
    world.web.set(PATH, Page::list("new.example.com\n"));
    relay.refresh(ZONE);
    assert!(!relay.blocks(BAD) && relay.blocks(NEW));
    let zone = relay.zone(ZONE);
    assert_eq!((&zone["supply"]["whole"], &zone["kind"]), (&2.into(), &"download".into()));
    assert!(zone["supply"]["expires"].is_null(), "a list does not expire: {zone:#}");
    // all of it again, whatever its server remembers
    relay.tell(&["zone", "retransfer", ZONE]);
    assert_eq!(world.web.last().field("if-none-match"), "");
}

#[test]
fn a_list_that_cannot_be_had_leaves_the_old_one_in_force() {
    let world = World::with(Page::list("bad.example.com\n"), "format = \"domains\"\nmax_rules = 6");
    let faults = [
        (Page::status(404, &[]), "404"),
        (Page::status(500, &[]), "500"),
        (Page::text(""), "empty"),
        (Page::text("<html><body>Please log in</body></html>\n"), "no line can be used"),
        (Page::list("a.example.net\nb.test\nc.test\nd.test\n"), "6"),
    ];
    for (page, why) in faults {
        world.web.set(PATH, page);
        let said = world.fault();
        assert!(said.contains(why), "{why}: {said}");
        assert!(world.relay.blocks(BAD) && !world.relay.blocks("a.example.net"), "{why}");
    }
    assert_eq!(world.relay.metric("zone_last_try_failed", ZONE), 1);
    world.web.set(PATH, Page::list("new.example.com\n"));
    world.relay.refresh(ZONE);
    assert!(world.relay.blocks(NEW));
    assert_eq!(world.relay.metric("zone_last_try_failed", ZONE), 0);
}

#[test]
fn a_list_has_to_have_its_checksum() {
    let tls = Tls::new();
    let (backend, web) = (Backend::start(&tls), Web::start(&tls));
    let sum = |text: &str| {
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        digest.as_ref().iter().fold(String::new(), |mut out, octet| {
            write!(out, "{octet:02x}").expect("a String takes all");
            out
        })
    };
    let publish = |web: &Web, text: &str, sum: &str| {
        web.set(PATH, Page::list(text));
        web.set("/secret/sum", Page::text(format!("{sum}  list.txt\n")));
    };
    let (first, second) = ("bad.example.com\n", "new.example.com\n");
    publish(&web, first, &sum(first));
    let lines = format!("{DOMAINS}sha256 = \"{}\"", web.url("/secret/sum"));
    let conf = Conf::before(&tls, &[&backend]);
    let relay = conf.downloaded(ZONE, &web, &tls, PATH, &lines).start();
    relay.refresh(ZONE);
    let world = World { relay, web, backend, tls };
    assert!(world.relay.blocks(BAD));
    publish(&world.web, second, &sum(first));
    let said = world.fault();
    assert!(said.contains(&sum(first)) || said.contains("checksum"), "{said}");
    assert!(world.relay.blocks(BAD) && !world.relay.blocks(NEW));
    publish(&world.web, second, &sum(second));
    world.relay.refresh(ZONE);
    assert!(world.relay.blocks(NEW) && !world.relay.blocks(BAD));
}

#[test]
fn lists_have_the_forms_that_are_configured() {
    let tls = Tls::new();
    let (backend, web) = (Backend::start(&tls), Web::start(&tls));
    web.set(
        "/rpz",
        Page::list(
            "$TTL 60\n@ SOA ns.test. host.test. 77 3600 600 86400 60\n@ NS ns.test.\n\
         rpz.example.com CNAME .\n",
        ),
    );
    web.set("/domains", Page::list("# names\ndomains.example.com\n"));
    web.set("/hosts", Page::list("127.0.0.1 localhost\n0.0.0.0 hosts.example.com\n"));
    let relay = Conf::before(&tls, &[&backend])
        .downloaded("rpz.test", &web, &tls, "/rpz", "")
        .downloaded("domains.test", &web, &tls, "/domains", DOMAINS)
        .downloaded("hosts.test", &web, &tls, "/hosts", "format = \"hosts\"\nsubdomains = false")
        .start();
    for (zone, name, subdomains) in [
        ("rpz.test", "rpz.example.com", false),
        ("domains.test", "domains.example.com", true),
        ("hosts.test", "hosts.example.com", false),
    ] {
        relay.refresh(zone);
        assert!(relay.blocks(name), "{name}");
        assert_eq!(relay.blocks(&format!("www.{name}")), subdomains, "www.{name}");
    }
    assert_eq!(relay.serial_of("rpz.test"), 77, "its own");
    assert_eq!(relay.serial_of("domains.test"), 784_111_777, "the time of its server");
}

#[test]
fn the_host_of_a_list_is_found_through_our_own_upstream() {
    let tls = Tls::new();
    let (backend, web) = (Backend::start(&tls), Web::start(&tls));
    backend.add(&[Record::a(HOST, 60, "127.0.0.1")]);
    web.set(PATH, Page::list("bad.example.com\n"));
    let (url, ca) = (web.url(PATH), tls.ca());
    let relay = Conf::before(&tls, &[&backend])
        .with(&format!(
            "[[policy]]\nzone = \"{ZONE}\"\nurl = \"{url}\"\nca = \"{}\"\n{DOMAINS}\
             until_loaded = \"servfail\"",
            ca.display()
        ))
        .start();
    relay.refresh(ZONE);
    assert!(relay.blocks(BAD));
    assert!(backend.asked(HOST) > 0);
    // a server that cannot be found
    backend.world(|world| {
        world.forget(HOST);
        world.remove(HOST);
    });
    let said = relay.refresh_fails(ZONE);
    assert!(said.contains(HOST) && said.contains("no address"), "{said}");
    assert!(relay.blocks(BAD));
}

#[test]
fn a_list_outlives_a_restart_unless_it_is_another_list_now() {
    let world = World::with(Page::list("bad.example.com\n"), DOMAINS);
    let World { relay, web, backend, tls } = world;
    relay.until_saved(ZONE);
    let conf = relay.killed();
    let url = web.url(PATH);
    drop(web);
    let early = Early::asking(conf.address, BAD);
    let relay = conf.start();
    assert!(early.answers().iter().all(|answer| answer.rcode() == "NXDOMAIN"));
    assert_eq!(backend.asked(BAD), 0);

    let mut conf = relay.killed();
    let sections = conf.sections.clone();
    let kept = "its last good copy came from elsewhere, or in another form";
    for (from, to) in [
        (url.as_str(), url.replace("list.txt", "other.txt")),
        ("\"domains\"", "\"hosts\"".to_owned()),
        ("\"domains\"", "\"domains\"\nsubdomains = false".to_owned()),
    ] {
        conf.sections = sections.replace(from, &to);
        let relay = conf.start();
        relay.stderr_with(kept);
        assert_eq!(relay.state_of(ZONE), "waiting", "{to}");
        conf = relay.killed();
    }
    conf.sections = sections;
    let relay = conf.start();
    assert!(relay.blocks(BAD), "the copy is still there for the list that it is of");
    drop(tls);
}

#[test]
fn a_url_that_changes_by_reload_keeps_the_rules_until_the_new_list_is_there() {
    let mut world = World::with(Page::list("bad.example.com\n"), DOMAINS);
    world.web.set("/secret/new.txt", Page::status(404, &[]));
    let sections = world.relay.conf.sections.replace(PATH, "/secret/new.txt");
    world.relay.conf.sections = sections;
    world.relay.conf.save();
    world.relay.reload();
    assert!(world.relay.blocks(BAD));
    assert!(world.fault().contains("404"));
    assert!(world.relay.blocks(BAD));
    // what the old place said of its version says nothing of the new one's
    world.web.set("/secret/new.txt", Page::list("bad.example.com\nnew.example.com\n"));
    world.relay.refresh(ZONE);
    assert_eq!(world.web.last().field("if-none-match"), "");
    assert!(world.relay.blocks(BAD) && world.relay.blocks(NEW));
}

#[test]
fn a_list_without_a_server_is_waited_for_no_longer_than_it_is_said() {
    let lines = format!("{DOMAINS}until_loaded = \"open-after-1s\"");
    let world = World::without(Page::status(503, &[("Retry-After", "86400")]), &lines);
    eventually("queries are answered without the list", LONG, || {
        world.relay.ask(BAD, crate::harness::wire::A).rcode() == "NOERROR"
    });
    assert_eq!(world.relay.state_of(ZONE), "waiting");
    world.web.set(PATH, Page::list("bad.example.com\n"));
    world.relay.refresh(ZONE);
    assert!(world.relay.blocks(BAD), "the operator's wish goes before the server's");
    assert!(world.backend.asked(BAD) > 0 && world.tls.ca().exists());
}
