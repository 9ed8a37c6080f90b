//! Whole zones through `load` and `parse`: what becomes a rule, what is skipped and why, and
//! what costs the file.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::policy::action::{Action, CnameTarget};
use crate::policy::trigger::TriggerKind;

const HEAD: &str = "$TTL 300\n@ SOA ns.test. host.test. 7 1h 15m 1d 60\n@ NS localhost.\n";

fn zone() -> Name {
    "rpz.test".parse().unwrap()
}

fn read(text: impl AsRef<[u8]>) -> Result<ZoneRules, String> {
    let limits = Limits::default();
    let file = Path::new("x.zone");
    parse(text.as_ref(), file, &zone(), Form::Zone, &limits).map_err(|err| err.to_string())
}

/// The rules of lines below a proper head, as sorted text: `QNAME a.b NXDOMAIN`.
fn rules(lines: &str) -> Vec<String> {
    dump(&read(format!("{HEAD}{lines}")).unwrap())
}

pub(super) fn dump(rules: &ZoneRules) -> Vec<String> {
    let mut out = in_order(rules);
    out.sort();
    out
}

/// The rules in their order.
pub(super) fn in_order(rules: &ZoneRules) -> Vec<String> {
    let action = |code: crate::policy::action::ActionCode| match code.action() {
        Action::Data(index) => {
            let records = rules.data.get(index as usize).unwrap().records().iter();
            let text = records.map(|r| format!("{}/{}/{}", r.rtype, r.ttl, r.rdata.escape_ascii()));
            text.collect::<Vec<_>>().join(" ")
        }
        fixed => fixed.to_string(),
    };
    let mut out = Vec::new();
    for kind in [TriggerKind::Qname, TriggerKind::Nsdname] {
        for (wire, code) in rules.by_name(kind) {
            out.push(format!("{kind} {} {}", Name::from_wire(wire).unwrap(), action(code)));
        }
    }
    for (kind, net, code) in rules.prefixes.iter() {
        out.push(format!("{kind} {net} {}", action(*code)));
    }
    assert_eq!(out.len(), rules.len());
    assert_eq!(rules.counts.total(), rules.len() as u64);
    out
}

/// What was skipped below a proper head: `line owner: reason`, the head's three lines off.
fn skipped(lines: &str) -> Vec<String> {
    let rules = read(format!("{HEAD}{lines}")).unwrap();
    let first = rules.skipped.first.iter();
    first.map(|skip| format!("{} {}: {}", skip.line - 3, skip.owner, skip.reason)).collect()
}

#[test]
fn a_zone_with_everything() {
    let text = format!(
        "{HEAD}\
         bad.example CNAME .\n\
         *.bad.example CNAME .\n\
         Empty.Example.RPZ.test. 60 IN CNAME *.\n\
         ok.example CNAME rpz-passthru.\n\
         old.example CNAME Old.Example.\n\
         drop.example CNAME RPZ-DROP.\n\
         tcp.example CNAME rpz-tcp-only.\n\
         garden.example CNAME *.Garden.test.\n\
         alias.example CNAME other.test.\n\
         local.example A 192.0.2.1\n\
         \t\tAAAA ::1\n\
         \t\tA 192.0.2.2\n\
         \t\tTXT \"a b\" c\n\
         24.0.2.0.192.rpz-ip CNAME .\n\
         32.1.2.0.192.rpz-client-ip CNAME rpz-drop.\n\
         48.zz.1.db8.2001.rpz-nsip CNAME 48.zz.1.db8.2001.\n\
         8.0.0.0.10.rpz-ip A 192.0.2.9\n\
         ns.example.rpz-nsdname CNAME ns.example.\n\
         *.ns.example.rpz-nsdname TXT x\n"
    );
    let rules = read(text).unwrap();
    let wanted = [
        "CLIENT-IP 192.0.2.1/32 DROP",
        "IP 10.0.0.0/8 1/300/\\xc0\\x00\\x02\\t",
        "IP 192.0.2.0/24 NXDOMAIN",
        "NSDNAME *.ns.example 16/300/\\x01x",
        "NSDNAME ns.example PASSTHRU",
        "NSIP 2001:db8:1::/48 PASSTHRU",
        "QNAME *.bad.example NXDOMAIN",
        "QNAME alias.example 5/300/\\x05other\\x04test\\x00",
        "QNAME bad.example NXDOMAIN",
        "QNAME drop.example DROP",
        "QNAME empty.example NODATA",
        "QNAME garden.example 5/300/\\x01*\\x06Garden\\x04test\\x00",
        "QNAME local.example 1/300/\\xc0\\x00\\x02\\x01 \
         28/300/\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01 \
         1/300/\\xc0\\x00\\x02\\x02 16/300/\\x03a b\\x01c",
        "QNAME ok.example PASSTHRU",
        "QNAME old.example PASSTHRU",
        "QNAME tcp.example TCP-ONLY",
    ];
    assert_eq!(dump(&rules), wanted);
    assert_eq!((rules.skipped.total, rules.skipped.unused), (0, 1));
    let soa = &rules.soa;
    assert_eq!((soa.ttl, soa.serial, soa.refresh, soa.retry), (300, 7, 3_600, 900));
    assert_eq!((soa.expire, soa.minimum, soa.rdata.len()), (86_400, 60, 9 + 11 + 20));
    let garden = rules.data.iter().find_map(|data| match data.cname() {
        Some(CnameTarget::Wildcard(garden)) => Some(*garden),
        _ => None,
    });
    assert_eq!(garden.unwrap().to_string(), "garden.test");
    assert_eq!(rules.counts.by_trigger(TriggerKind::Qname), 10);
    assert_eq!(rules.counts.by_action(Action::Passthru), 4);
}

#[test]
fn odd_spellings() {
    for (lines, wanted) in [
        (r"a\046b CNAME .", r"QNAME a\.b NXDOMAIN"),
        (r"a\200 CNAME .", r"QNAME a\200 NXDOMAIN"),
        (r"\097.b CNAME .", "QNAME a.b NXDOMAIN"),
        ("\u{fc} CNAME .", r"QNAME \195\188 NXDOMAIN"),
        ("-x- CNAME .", "QNAME -x- NXDOMAIN"),
        ("_x CNAME .", "QNAME _x NXDOMAIN"),
        ("x ( CNAME\n. )", "QNAME x NXDOMAIN"),
        ("x CNAME . ; why", "QNAME x NXDOMAIN"),
        ("x IN 60 CNAME .", "QNAME x NXDOMAIN"),
        ("x 60 IN CNAME .", "QNAME x NXDOMAIN"),
        ("x CLASS1 TYPE5 \\# 1 00", "QNAME x NXDOMAIN"),
        ("x TYPE65400 \\# 2 abcd", "QNAME x 65400/300/\\xab\\xcd"),
        ("x 1h30m A 192.0.2.1", "QNAME x 1/5400/\\xc0\\x00\\x02\\x01"),
        ("$TTL 1d\nx A 192.0.2.1", "QNAME x 1/86400/\\xc0\\x00\\x02\\x01"),
        ("x 3000000000 A 192.0.2.1", "QNAME x 1/0/\\xc0\\x00\\x02\\x01"),
        ("$ORIGIN sub\nx CNAME .", "QNAME x.sub NXDOMAIN"),
        ("$ORIGIN sub.rpz.test.\n@ CNAME .", "QNAME sub NXDOMAIN"),
        ("$ORIGIN test.\nx.rpz CNAME .", "QNAME x NXDOMAIN"),
        ("x CNAME @", r"QNAME x 5/300/\x03rpz\x04test\x00"),
        ("x CNAME rpz-drop", r"QNAME x 5/300/\x08rpz-drop\x03rpz\x04test\x00"),
        ("x CNAME .\r", "QNAME x NXDOMAIN"),
        ("x.rpz-foo CNAME .", "QNAME x.rpz-foo NXDOMAIN"),
        ("x TXT \"a;b\" ; c", r"QNAME x 16/300/\x03a;b"),
        ("x A 192.0.2.1\nx 9 A 192.0.2.1", "QNAME x 1/300/\\xc0\\x00\\x02\\x01"),
    ] {
        assert_eq!(rules(lines), [wanted], "{lines}");
        assert_eq!(skipped(lines), [""; 0], "{lines}");
    }
}

#[test]
fn a_bad_record_costs_that_record() {
    for (lines, wanted) in [
        (r"a\300 CNAME .", r"1 a\\300: the name has a bad \ escape"),
        ("a..b CNAME .", "1 a..b: the name has an empty label"),
        ("x CNAM .", "1 x: unknown record type CNAM"),
        ("x", "1 x: the record has no type"),
        ("x 60", "1 x: the record has no type"),
        ("x 5y CNAME .", "1 x: the TTL is no number of seconds"),
        ("x CNAME", "1 x: bad CNAME data: unexpected end of entry"),
        ("x CNAME . .", "1 x: bad CNAME data: trailing tokens"),
        ("x CH CNAME .", "1 x: not of class IN; policy knows no other"),
        ("x HS TXT a", "1 x: not of class IN; policy knows no other"),
        ("x A 192.0.2.256", "1 x: bad A data: expected IPv4 address"),
        ("x DNAME y.", "1 x: DNAME is no policy action"),
        ("x NS y.", "1 x: NS is no policy action, and a policy zone has no delegations"),
        ("x SOA . . 1 1 1 1 1", "1 x: a SOA belongs to the zone's own name only"),
        ("@ SOA . . 1 1 1 1 1", "1 @: a second SOA that differs from the first"),
        ("@ CNAME .", "1 @: data at the zone's own name is no rule"),
        ("@ A 192.0.2.1", "1 @: data at the zone's own name is no rule"),
        ("x.other. CNAME .", "1 x.other.: outside the zone rpz.test."),
        ("xrpz.test. CNAME .", "1 xrpz.test.: outside the zone rpz.test."),
        (
            "x CNAME rpz-foo.",
            "1 x: unknown action rpz-foo; known are rpz-passthru, rpz-drop and rpz-tcp-only",
        ),
        ("x CNAME a.rpz-drop.", "1 x: a name below a special action is reserved"),
        (
            "24.1.2.0.192.rpz-ip CNAME .",
            "1 24.1.2.0.192.rpz-ip: the address has bits beyond its prefix; write 24.0.2.0.192",
        ),
        ("rpz-ip CNAME .", "1 rpz-ip: too short: a prefix length and an address are missing"),
        ("x TXT \"a", "1 x: a quote is not closed on its line"),
        ("x CNAME . )", "1 x: `)` without `(`"),
        (
            "$GENERATE 1-2147483648 x$ CNAME .",
            "1 $GENERATE: $GENERATE is not supported; write the records out, or use a wildcard",
        ),
        ("$FOO bar", "1 $FOO: unknown directive"),
        ("$TTL 1x", "1 $TTL: $TTL takes one number of seconds"),
        ("x LOC 51 N 0 W 0m", "1 x: LOC data can be read only in the form `\\# length hex`"),
        ("x CNAME a.\nx CNAME b.", "2 x: the name has a CNAME already, which stands alone"),
        ("x A 192.0.2.1\nx CNAME a.", "2 x: a CNAME stands alone, the name has other records"),
        ("x A 192.0.2.1\nx CNAME .", "2 x: the name has local data already, which comes first"),
        (
            "x CNAME .\nx A 192.0.2.1",
            "2 x: local data beside a rule without data, which came first",
        ),
        (
            "8.0.0.0.10.rpz-ip CNAME .\n8.0.0.0.10.rpz-ip A 192.0.2.1",
            "2 8.0.0.0.10.rpz-ip: local data beside a rule without data, which came first",
        ),
    ] {
        // a good rule before and behind, which must both survive
        let around = format!("before CNAME .\n{lines}\nbehind CNAME .\n");
        let wanted_line: u32 = wanted.split(' ').next().unwrap().parse().unwrap();
        let moved = wanted.replacen(&wanted_line.to_string(), &(wanted_line + 1).to_string(), 1);
        assert_eq!(skipped(&around), [moved], "{lines}");
        let kept = rules(&around);
        assert!(kept.contains(&"QNAME before NXDOMAIN".to_owned()), "{lines}");
        assert!(kept.contains(&"QNAME behind NXDOMAIN".to_owned()), "{lines}");
    }
}

#[test]
fn signed_zones_are_welcome() {
    let rules = read(format!(
        "{HEAD}@ DNSKEY 257 3 13 AAAA\n@ RRSIG SOA nonsense\nx CNAME .\nx NSEC y CNAME\n\
         x TYPE63 \\# 0\n@ SOA ns.test. host.test. 7 1h 15m 1d 60\n"
    ));
    let rules = rules.unwrap();
    assert_eq!((rules.len(), rules.skipped.total, rules.skipped.unused), (1, 0, 6));
}

#[test]
fn an_entry_without_owner_never_takes_a_wrong_one() {
    let head = "@ SOA . . 1 1 1 1 1\n";
    let text = format!("{head}a A 192.0.2.1\nb..b A 192.0.2.2\n  A 192.0.2.3\n");
    let zone = read(text).unwrap();
    assert_eq!(zone.skipped.total, 2);
    assert_eq!(dump(&zone), ["QNAME a 1/1/\\xc0\\x00\\x02\\x01"]);
    let zone = read(format!("  A 192.0.2.3\n{head}")).unwrap();
    assert_eq!(zone.skipped.first[0].reason, "no record before has an owner name");
}

#[test]
fn ttl_comes_from_where_it_should() {
    let ttl = |text: &str| read(text).unwrap().data.get(0).unwrap().records()[0].ttl;
    assert_eq!(ttl("@ SOA . . 1 1 1 1 60\nx A 192.0.2.1"), 60);
    assert_eq!(ttl("@ 5 SOA . . 1 1 1 1 60\nx A 192.0.2.1"), 5);
    assert_eq!(ttl("$TTL 9\n@ 5 SOA . . 1 1 1 1 60\nx A 192.0.2.1"), 9);
    assert_eq!(ttl("x A 192.0.2.1\n@ 5 SOA . . 1 1 1 1 60\n"), 3_600);
    assert_eq!(ttl("x 8 A 192.0.2.1\n@ 5 SOA . . 1 1 1 1 60\nx A 192.0.2.2"), 8);
}

#[test]
fn line_ends_and_marks() {
    let lines = "a CNAME .\nb A 192.0.2.1\n\n; c\nc CNAME *.";
    let wanted = rules(lines);
    assert_eq!(wanted.len(), 3);
    let plain = format!("{HEAD}{lines}");
    let crlf = plain.replace('\n', "\r\n");
    for text in [format!("{plain}\n"), crlf.clone(), format!("\u{feff}{crlf}\r\n\r\n")] {
        let zone = read(text).unwrap();
        assert_eq!((dump(&zone), zone.skipped.total), (wanted.clone(), 0));
    }
}

#[test]
fn broken_files_are_refused_whole() {
    let long = format!("{HEAD}a CNAME .\nb TXT {}\n", "x".repeat(70 << 10));
    let endless =
        format!("{HEAD}a CNAME (\n{}", "x ".repeat(200).repeat(900).replace("x x x", "x\n"));
    for (text, wanted) in [
        ("", "x.zone: the file is empty"),
        (
            "a CNAME .\n",
            "x.zone: there is no SOA record for rpz.test.; a policy zone needs one, is the file \
             cut short?",
        ),
        (
            "$TTL 1\nother. SOA . . 1 1 1 1 1\n",
            "x.zone:2: this is the SOA of other., not of rpz.test.; correct the zone's name in \
             the configuration, or name the right file",
        ),
        (
            "\nwww SOA . . 1 1 1 1 1\n",
            "x.zone:2: this is the SOA of www.rpz.test., not of rpz.test.; correct the zone's \
             name in the configuration, or name the right file",
        ),
        ("@ SOA . . 1 1 1 1\n", "x.zone:1: the zone's SOA: bad SOA data: unexpected end of entry"),
        (
            "@ SOA . . 1 ( ; x\n 1\n\n",
            "x.zone:1: a parenthesis that is open in the entry beginning \
             here is never closed",
        ),
        (&format!("{HEAD}x TXT \"a"), "x.zone:4: the file ends inside a quote; is it cut short?"),
        (&format!("{HEAD}x TXT \"a\n"), "x.zone:4: the file ends inside a quote; is it cut short?"),
        (&format!("{HEAD}x\0 CNAME .\n"), "x.zone:4: a NUL octet: this is no text file"),
        (&format!("{HEAD}x TXT (\n\n\0)\n"), "x.zone:6: a NUL octet: this is no text file"),
        (&long, "x.zone:5: the line is longer than 65536 octets"),
        (
            &endless,
            "x.zone:4: the entry is longer than 262144 octets; is a parenthesis that is \
             open in the entry beginning here is never closed?",
        ),
        (&format!("{HEAD}$ORIGIN a..b\n"), "x.zone:4: a..b: the name has an empty label"),
        (&format!("{HEAD}$ORIGIN\n"), "x.zone:4: $ORIGIN takes one name"),
        (
            &format!("{HEAD}$INCLUDE y\n"),
            "x.zone:4: $INCLUDE works only in a zone that is loaded from a file",
        ),
    ] {
        assert_eq!(read(text).unwrap_err(), wanted);
    }
}

#[test]
fn limits_refuse_the_file() {
    let text = format!("{HEAD}a CNAME .\nb A 192.0.2.1\nc CNAME .\n");
    let with = |limits: Limits| {
        let rules = parse(text.as_bytes(), Path::new("x.zone"), &zone(), Form::Zone, &limits);
        rules.map(|rules| rules.len()).map_err(|err| err.to_string())
    };
    let limits = Limits::default();
    assert_eq!(with(Limits { max_rules: 3, ..limits }), Ok(3));
    assert_eq!(
        with(Limits { max_rules: 2, ..limits }).unwrap_err(),
        "x.zone:6: the zone has more than 2 rules; raise its limit if that is meant to be"
    );
    let bytes = text.len() as u64;
    assert_eq!(with(Limits { max_bytes: bytes, ..limits }), Ok(3));
    assert_eq!(
        with(Limits { max_bytes: bytes - 1, ..limits }).unwrap_err(),
        format!(
            "x.zone:6: the zone has more than {} octets of text; raise the zone's limit if that \
             is meant to be",
            bytes - 1
        )
    );
}

#[test]
fn files_and_includes() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let load = |name: &str| {
        let rules = load(&dir.path().join(name), &zone(), Form::Zone, &Limits::default());
        rules.map_err(|err| err.to_string().replace(&format!("{}/", dir.path().display()), ""))
    };
    fs::create_dir(dir.path().join("sub")).unwrap();
    write("main", &format!("{HEAD}a CNAME .\n$INCLUDE sub/one\n  A 192.0.2.1\nz CNAME .\n"));
    // paths are relative to the including file; the owner and the origin come back behind it
    write("sub/one", "b CNAME .\n$ORIGIN deep\nc CNAME .\n$INCLUDE \"two\" other\nd CNAME .\n");
    write("sub/two", "\u{feff}e CNAME .\r\nbad CNAM .");
    let zone_rules = load("main").unwrap();
    let names = ["a", "b", "c.deep", "d.deep", "e.other.deep", "z"];
    let wanted: Vec<String> = names.iter().map(|name| format!("QNAME {name} NXDOMAIN")).collect();
    assert_eq!(dump(&zone_rules), wanted);
    let [bad, shadowed] = &zone_rules.skipped.first[..] else { panic!("two are skipped") };
    assert!(bad.file.as_ref().unwrap().ends_with("sub/two"));
    assert_eq!((bad.line, &bad.owner[..]), (2, "bad.other.deep"));
    assert_eq!((&shadowed.file, shadowed.line, &shadowed.owner[..]), (&None, 6, "a"));

    let outside = "only files in the zone file's own folder can be included; put a copy there";
    for (text, wanted) in [
        ("$INCLUDE gone", "t:4: $INCLUDE gone: no such file".to_owned()),
        ("$INCLUDE sub", "t:4: $INCLUDE sub: is a directory, not a zone file".into()),
        ("$INCLUDE ../x", format!("t:4: $INCLUDE ../x: {outside}")),
        ("$INCLUDE /etc/passwd", format!("t:4: $INCLUDE /etc/passwd: {outside}")),
        ("$INCLUDE t", "t:4: $INCLUDE loop: t is being read already".into()),
        ("$INCLUDE sub/../t", format!("t:4: $INCLUDE sub/../t: {outside}")),
        ("$INCLUDE", "t:4: $INCLUDE takes a file name, and perhaps an origin".into()),
        ("$INCLUDE \"\u{1b}[2J\"", "t:4: $INCLUDE: the file name is no printable UTF-8".into()),
        ("$INCLUDE sub/nul", "sub/nul:2: a NUL octet: this is no text file".into()),
        ("$INCLUDE loop1", "loop2:1: $INCLUDE loop: loop1 is being read already".into()),
        ("$INCLUDE deep1", "deep8:1: $INCLUDE is nested deeper than 8".into()),
    ] {
        write("t", &format!("{HEAD}{text}\n"));
        write("sub/nul", "a CNAME .\nb\0\n");
        write("loop1", "$INCLUDE loop2\n");
        write("loop2", "$INCLUDE loop1\n");
        for depth in 1..=9 {
            write(&format!("deep{depth}"), &format!("$INCLUDE deep{}\n", depth + 1));
        }
        assert_eq!(load("t").unwrap_err(), wanted);
    }
    assert_eq!(load("sub").unwrap_err(), "sub: is a directory, not a zone file");
    assert_eq!(load("none").unwrap_err(), "none: no such file");
    let absolute = dir.path().join("sub/two");
    write("abs", &format!("{HEAD}$INCLUDE {}\n", absolute.display()));
    assert_eq!(load("abs").unwrap().len(), 1);
}

#[test]
fn many_records_share_little_data() {
    let mut text = HEAD.to_owned();
    for i in 0..5_000 {
        text.push_str(&format!("h{i}.example A 192.0.2.1\n*.h{i}.example A 192.0.2.1\n"));
        text.push_str(&format!("g{i}.example CNAME garden.test.\n"));
    }
    let rules = read(text).unwrap();
    assert_eq!((rules.len(), rules.data.len()), (15_000, 2));
}

/// Names as they stand in lists, and a few that do not.
fn owner() -> impl Strategy<Value = String> {
    let plain = proptest::collection::vec("[A-Za-z0-9_-]{1,12}|\\*", 1..5)
        .prop_map(|labels| labels.join("."));
    let address = (0_u8..34, 0_u16..260, any::<bool>()).prop_map(|(bits, octet, v4)| match v4 {
        true => format!("{bits}.0.0.{octet}.10.rpz-ip"),
        false => format!("{}.{octet:x}.zz.2001.rpz-client-ip", bits * 4),
    });
    prop_oneof![4 => plain, 1 => address, 1 => "[a-z]{1,9}\\.rpz-nsdname"]
}

fn simple_line() -> impl Strategy<Value = String> {
    let data = prop_oneof![
        Just("CNAME .".to_owned()),
        Just("cname *.".to_owned()),
        "CNAME (rpz-drop|RPZ-Passthru|rpz-tcp-only|rpz-x)\\.",
        "CNAME (\\*\\.)?[A-Za-z]{1,5}\\.[a-z]{1,5}\\.?",
        "A [12]?[0-9]{1,2}\\.[0-9]\\.0\\.1",
        "AAAA [0-9a-f]{1,4}::[0-9A-F]{1,5}",
    ];
    let middle = prop_oneof![Just(""), Just(" IN"), Just(" 60"), Just("\t5 in"), Just(" 08")];
    let suffix = prop_oneof![3 => Just(""), 1 => Just(".rpz.test."), 1 => Just(".test.")];
    (owner(), suffix, middle, data)
        .prop_map(|(owner, suffix, middle, data)| format!("{owner}{suffix}{middle} {data}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A comment sends a line to the careful reader; the rules must be the same.
    #[test]
    fn both_readers_agree(lines in proptest::collection::vec(simple_line(), 1..12)) {
        let fast = read(format!("{HEAD}{}\n", lines.join("\n"))).unwrap();
        let slow = read(format!("{HEAD}{} ;\n", lines.join(" ;\n"))).unwrap();
        prop_assert_eq!(dump(&fast), dump(&slow));
        let skips = |zone: &ZoneRules| -> Vec<(u32, String)> {
            zone.skipped.first.iter().map(|skip| (skip.line, skip.owner.clone())).collect()
        };
        prop_assert_eq!(skips(&fast), skips(&slow));
    }

    /// Text that looks like a zone file without being one.
    #[test]
    fn nothing_makes_it_panic(
        tokens in proptest::collection::vec(
            prop_oneof![
                Just("\n".to_owned()), Just(" ".to_owned()), Just("\n\t".to_owned()),
                "[(){};\"@$.*\\\\\r]", "\\PC{1,3}",
                "(IN|CH|CNAME|TXT|A|AAAA|MX|SRV|HTTPS|NAPTR|CAA|TYPE[0-9]{1,5}|SOA|\\\\#) ",
                "\\$(ORIGIN|TTL|INCLUDE|GENERATE) ", "[0-9]{1,6}", "[a-z*]{1,9}\\.?",
                "\\\\[0-9]{0,3}", "rpz-(ip|drop|nsip)\\.?",
            ],
            0..60,
        ),
    ) {
        let _ = read(format!("{HEAD}{}", tokens.concat()));
    }

    /// Octets at random.
    #[test]
    fn noise_does_not_either(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut text = HEAD.as_bytes().to_vec();
        text.extend(noise.iter().map(|&octet| if octet == 0 { b'\n' } else { octet }));
        let _ = read(text);
    }
}

#[test]
fn a_checksum_is_of_what_the_rules_say_in_whatever_order() {
    let sum = |lines: &[&str]| read(format!("{HEAD}{}\n", lines.join("\n"))).unwrap().checksum();
    let lines = [
        "a.example CNAME .",
        "b.example A 192.0.2.1",
        "32.1.2.0.192.rpz-ip CNAME *.",
        "c.example A 192.0.2.2",
    ];
    let all = sum(&lines);
    let mut back = lines;
    back.reverse();
    assert_eq!(sum(&back), all);
    for (from, to) in [
        ("a.example", "aa.example"),
        ("CNAME .", "CNAME *."),
        ("192.0.2.1", "192.0.2.3"),
        ("32.1.2", "32.2.2"),
        ("rpz-ip", "rpz-client-ip"),
    ] {
        let changed = lines.map(|line| line.replacen(from, to, 1));
        assert_ne!(changed, lines, "{from} occurs");
        let changed: Vec<&str> = changed.iter().map(String::as_str).collect();
        assert_ne!(sum(&changed), all, "{from} to {to}");
    }
    assert_ne!(sum(&lines[1..]), all);
    assert_eq!(sum(&[]), 0);
}
