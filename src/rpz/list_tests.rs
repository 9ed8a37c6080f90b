//! Whole lists of domains and hosts files through `load` and `parse`, and zone files that are
//! none.

use std::path::Path;

use proptest::prelude::*;

use super::tests::dump;
use super::*;

const DOMAINS: Form = Form::Domains { subdomains: false };
const BELOW: Form = Form::Domains { subdomains: true };
const HOSTS: Form = Form::Hosts { subdomains: false };

fn zone() -> Name {
    "list.test".parse().unwrap()
}

fn read_within(text: &str, form: Form, limits: Limits) -> Result<ZoneRules, String> {
    let rules = parse(text.as_bytes(), Path::new("x.txt"), &zone(), form, &limits);
    rules.map_err(|err| err.to_string())
}

fn read(text: &str, form: Form) -> Result<ZoneRules, String> {
    read_within(text, form, Limits::default())
}

/// What was skipped, as `line owner: reason`.
fn skipped(rules: &ZoneRules) -> Vec<String> {
    let first = rules.skipped.first.iter();
    first.map(|skip| format!("{} {}: {}", skip.line, skip.owner, skip.reason)).collect()
}

#[test]
fn a_list_of_domains() {
    let text = "\u{feff}# a comment\r\n; another\r\n! and another\r\n\r\n  \t\r\n\
                Bad.Example\r\n\tworse.example.  # why\r\n.both.example\r\n*.below.example\r\n\
                under_score.example\r\nzip";
    let rules = read(text, DOMAINS).unwrap();
    let wanted = [
        "QNAME *.below.example NXDOMAIN",
        "QNAME *.both.example NXDOMAIN",
        "QNAME bad.example NXDOMAIN",
        "QNAME both.example NXDOMAIN",
        "QNAME under_score.example NXDOMAIN",
        "QNAME worse.example NXDOMAIN",
        "QNAME zip NXDOMAIN",
    ];
    assert_eq!(dump(&rules), wanted);
    assert_eq!((rules.skipped.total, rules.skipped.unused), (0, 0));
    let soa = &rules.soa;
    assert_eq!((soa.serial, soa.ttl, soa.minimum, soa.rdata.len()), (0, 60, 60, 11 + 16 + 20));
    let rules = read("a.example\n*.b.example\n.c.example\nA.example\n", BELOW).unwrap();
    let wanted = [
        "QNAME *.a.example NXDOMAIN",
        "QNAME *.a.example NXDOMAIN",
        "QNAME *.b.example NXDOMAIN",
        "QNAME *.c.example NXDOMAIN",
        "QNAME a.example NXDOMAIN",
        "QNAME a.example NXDOMAIN",
        "QNAME c.example NXDOMAIN",
    ];
    assert_eq!(dump(&rules), wanted);
}

#[test]
fn a_bad_line_costs_that_line() {
    // with the zone's name 256 octets
    let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(52));
    let long_too = format!("{}...: the name is longer than 255 octets", &long[..100]);
    let filter = "filter syntax of ad blockers, which is no domain name";
    let star = "`*` can only stand in front of a name of a list of domains, as `*.`";
    let ascii = "not ASCII; write the name in its ASCII form (xn--...)";
    let hosts = "an address and a name; for a hosts file set format = \"hosts\"";
    for (line, wanted) in [
        ("b\u{fc}.example", format!(r"b\xc3\xbc.example: {ascii}")),
        ("||ads.example^", format!("||ads.example^: {filter}")),
        ("http://a.example/", "http://a.example/: a URL; a list has names".into()),
        ("192.0.2.1", "192.0.2.1: an address; a list has names".into()),
        ("a b", "a b: more than one word; a list of domains has one name a line".into()),
        ("0.0.0.0 a.example", format!("0.0.0.0 a.example: {hosts}")),
        ("*", format!("*: {star}")),
        ("*.", "*.: there is no name".into()),
        ("..", "..: there is no name".into()),
        ("a\0.example", r"a\x00.example: `\x00` is no character of a name".into()),
        ("a.example#b", "a.example#b: `#` is no character of a name".into()),
        (&long, long_too),
    ] {
        let rules = read(&format!("{line}\ngood.example\n"), DOMAINS).unwrap();
        assert_eq!(skipped(&rules), [format!("1 {wanted}")], "{line}");
        assert_eq!(dump(&rules), ["QNAME good.example NXDOMAIN"], "{line}");
    }
    // with the zone's name 254 octets: no room for `*.`
    let tight = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(50));
    let rules = read(&tight, BELOW).unwrap();
    assert_eq!((rules.len(), rules.skipped.total), (1, 1));
    assert!(skipped(&rules)[0].ends_with("too long for a wildcard in front of it"));
}

#[test]
fn a_hosts_file() {
    let text = "127.0.0.1 localhost localhost.localdomain\n::1 LOCALHOST ip6-loopback\n\
                fe80::1%lo0 localhost\n255.255.255.255 broadcasthost\n0.0.0.0 0.0.0.0\n\
                0.0.0.0 Ads.example two.example # three.example\n\
                ::\tsix.example.\n::1 seven.example#x\n127.0.0.1 eight.example\n\
                192.0.2.7 nas.home\n192.0.2.8 nas.home\n2001:db8::7 nas.home\n127.0.1.1 me.home\n";
    let rules = read(text, HOSTS).unwrap();
    let nas = "QNAME nas.home 1/60/\\xc0\\x00\\x02\\x07 1/60/\\xc0\\x00\\x02\\x08 28/60/ \
               \\x01\\r\\xb8\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x07";
    let wanted = [
        "QNAME ads.example NXDOMAIN",
        "QNAME eight.example NXDOMAIN",
        "QNAME me.home 1/60/\\x7f\\x00\\x01\\x01",
        nas,
        "QNAME seven.example NXDOMAIN",
        "QNAME six.example NXDOMAIN",
        "QNAME two.example NXDOMAIN",
    ];
    assert_eq!(dump(&rules), wanted);
    assert_eq!((rules.skipped.total, rules.skipped.unused), (0, 7));
    let rules = read("0.0.0.0 a.example\n192.0.2.1 b.example", Form::Hosts { subdomains: true });
    assert_eq!(
        dump(&rules.unwrap()),
        [
            "QNAME *.a.example NXDOMAIN",
            "QNAME *.b.example 1/60/\\xc0\\x00\\x02\\x01",
            "QNAME a.example NXDOMAIN",
            "QNAME b.example 1/60/\\xc0\\x00\\x02\\x01",
        ]
    );
}

#[test]
fn a_bad_line_of_a_hosts_file() {
    let bare = "no address in front of the name; for one name a line set format = \"domains\"";
    let star = "`*` can only stand in front of a name of a list of domains, as `*.`";
    for (line, wanted) in [
        ("0.0.0.0", "0.0.0.0: no name behind the address".into()),
        ("a.example", format!("a.example: {bare}")),
        ("0.0.0 a.example", "a.example: `0.0.0` is no address".into()),
        ("0.0.0.0 *.a.example", format!("*.a.example: {star}")),
        ("0.0.0.0 10.0.0.1", "10.0.0.1: an address; a list has names".into()),
    ] {
        let rules = read(&format!("{line}\n0.0.0.0 good.example\n"), HOSTS).unwrap();
        assert_eq!(skipped(&rules), [format!("1 {wanted}")], "{line}");
        assert_eq!(dump(&rules), ["QNAME good.example NXDOMAIN"], "{line}");
    }
    // the first one counts, as in zones
    let rules = read("192.0.2.1 a\n0.0.0.0 a\n", HOSTS).unwrap();
    assert_eq!(dump(&rules), [r"QNAME a 1/60/\xc0\x00\x02\x01"]);
    assert_eq!(skipped(&rules), ["2 a: the name has local data already, which comes first"]);
}

#[test]
fn no_list_and_an_empty_one() {
    for form in [DOMAINS, BELOW, HOSTS] {
        for text in ["", "\n", "# nothing blocked\n\n"] {
            let rules = read(text, form).unwrap();
            assert_eq!((rules.len(), rules.skipped.total), (0, 0), "{text:?}");
        }
        // what a server sends when the list has moved
        let refused = read("# x\n404: Not Found", form).unwrap_err();
        assert!(refused.starts_with("x.txt:2: no line can be used"), "{refused}");
    }
    assert_eq!(read("127.0.0.1 localhost\n", HOSTS).unwrap().skipped.unused, 1);
}

#[test]
fn a_list_is_not_taken_for_a_zone_file() {
    for (text, key) in [
        ("a.example\n", "a list of domain names, not like a zone file: set format = \"domains\""),
        ("# x\n; y\n\na.example # (\n*.b.example\n", "set format = \"domains\" for it"),
        ("||x^\na.example\n.b.example\nc.example\n", "set format = \"domains\" for it"),
        (
            "127.0.0.1 localhost\n0.0.0.0 a.example\n",
            "a hosts file, not like a zone file: set \
                                                      format = \"hosts\" for it",
        ),
    ] {
        let refused = read(text, Form::Zone).unwrap_err();
        assert!(refused.contains(key), "{refused}");
        assert!(refused.starts_with("x.txt:"), "{refused}");
    }
    for text in ["$TTL 60\na CNAME .\n", "a.example CNAME .\nb.example\n", "; nothing\n"] {
        let refused = read(text, Form::Zone).unwrap_err();
        assert!(!refused.contains("format") && refused.contains("no SOA"), "{refused}");
    }
    // a SOA makes it a zone file, whatever the lines look like
    let rules = read("@ SOA . . 1 1 1 1 1\na.example\nb.example\n", Form::Zone).unwrap();
    assert_eq!((rules.len(), rules.skipped.total), (0, 2));
}

#[test]
fn limits_hold_for_lists() {
    let text = "a.example\nb.example\n";
    let limits = Limits::default();
    let refused = |limits| read_within(text, BELOW, limits).unwrap_err();
    assert!(read_within(text, BELOW, Limits { max_rules: 4, ..limits }).is_ok());
    let many = refused(Limits { max_rules: 3, ..limits });
    assert_eq!(
        many,
        "x.txt:2: the zone has more than 3 rules; raise its limit if that is meant to be"
    );
    assert!(refused(Limits { max_bytes: 19, ..limits }).starts_with("x.txt:2: the zone has more"));
    assert!(refused(Limits { max_line: 8, ..limits }).starts_with("x.txt:1: the line is longer"));
}

#[test]
fn the_serial_is_the_time_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("list.txt");
    std::fs::write(&path, "a.example\n").unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    std::fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
    let rules = load(&path, &zone(), DOMAINS, &Limits::default()).unwrap();
    assert_eq!((rules.soa.serial, rules.len()), (1_700_000_000, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A list means what the zone file means that says the same.
    #[test]
    fn a_list_is_a_zone_in_short(
        names in proptest::collection::vec("[A-Za-z0-9_-]{1,12}(\\.[a-z]{1,9}){0,3}\\.?", 1..12),
    ) {
        let names: Vec<&str> = names.iter().map(|name| name.trim_end_matches('.')).collect();
        // what another entry covers is left out of a list; a zone has it
        let lower: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let below = |name: &String| lower.iter().any(|above| name.ends_with(&format!(".{above}")));
        prop_assume!(!lower.iter().any(below));
        let mut text = "@ SOA . . 1 1 1 1 1\n".to_owned();
        for name in &names {
            text.push_str(&format!("{name} CNAME .\n*.{name} CNAME .\n"));
        }
        let zone = read(&text, Form::Zone).unwrap();
        let list = read(&names.join("\n"), BELOW).unwrap();
        prop_assert_eq!(dump(&zone), dump(&list));
        let hosts: String = names.iter().map(|name| format!(":: {name}\n")).collect();
        let hosts = read(&hosts, Form::Hosts { subdomains: true }).unwrap();
        let customary = hosts.skipped.unused > 0;
        prop_assert!(customary || dump(&zone) == dump(&hosts));
    }

    /// Text at random.
    #[test]
    fn nothing_makes_it_panic(
        words in proptest::collection::vec(
            "[ \\t\\n#!;*.|/:0-9a-z\\\\]{0,9}|\\PC{1,3}|::1 ",
            0..40,
        ),
    ) {
        for form in [DOMAINS, BELOW, HOSTS, Form::Zone] {
            let _ = read(&words.concat(), form);
        }
    }
}
