//! Audits of whole zones: what is found in them, and that it is so.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::limits;
use crate::policy::action::{Action, ActionCode};
use crate::policy::names::NameRule;
use crate::policy::oracle::Oracle;

const HEAD: &str = "@ SOA . . 7 1 1 1 1\n";

fn zone(lines: &str) -> ZoneRules {
    let origin = "rpz.test".parse().unwrap();
    let (text, limits) = (format!("{HEAD}{lines}"), Limits::default());
    parse(text.as_bytes(), Path::new("x"), &origin, Form::Zone, &limits).unwrap()
}

/// The rules `OWNER ACTION`, one a line, as an audit sees them.
fn look(lines: &str) -> Audit {
    let lines: Vec<String> = lines
        .split_whitespace()
        .map(|rule| {
            let (owner, action) = rule.split_once('=').unwrap_or((rule, "."));
            format!("{owner} CNAME {action}")
        })
        .collect();
    audit(&zone(&(lines.join("\n") + "\n")))
}

fn hidden(audit: &Audit) -> Vec<String> {
    let first = audit.hidden.first.iter();
    first.map(|h| format!("{} from {} because {}", h.name, h.wildcard, h.because)).collect()
}

fn bare(audit: &Audit) -> Vec<String> {
    audit.bare.first.iter().map(|b| format!("{} under {}", b.name, b.wildcard)).collect()
}

fn redundant(audit: &Audit) -> Vec<String> {
    let first = audit.redundant.first.iter();
    first.map(|r| format!("{} by {} {}", r.owner, r.covered_by, r.action)).collect()
}

#[test]
fn a_clean_zone_has_nothing_to_say() {
    let audit = look("a *.a b *.b c=*. 24.0.2.0.192.rpz-ip d.rpz-nsdname x.y.z");
    assert!(audit.is_clean() && audit.duplicates.is_empty() && audit.hidden.is_empty());
    assert!(audit.bare.is_empty() && audit.redundant.is_empty());
    assert_eq!((audit.zone.as_str(), audit.serial, audit.rules), ("rpz.test", 7, 8));
    let by_trigger = [("IP", 1), ("NSDNAME", 1), ("QNAME", 6)];
    assert_eq!(audit.by_trigger, BTreeMap::from(by_trigger));
    assert_eq!(audit.by_action, BTreeMap::from([("NODATA", 1), ("NXDOMAIN", 7)]));
}

#[test]
fn names_that_exist_hide_from_wildcards() {
    for (rules, wanted) in [
        ("*.a x.y.a=*.", &["y.a from *.a because x.y.a"][..]),
        ("*.a x.y.a=*. y.a=*. *.y.a=*.", &[]),
        ("*.a *.y.a=*.", &["y.a from *.a because *.y.a"]),
        ("*.a w.x.y.a v.y.a=*.", &["y.a from *.a because v.y.a", "x.y.a from *.a because w.x.y.a"]),
        ("* x.y=*.", &["y from * because x.y"]),
        ("*.a y.a=*. w.x.y.a", &[]),
        (
            "*.a *.y.a w.x.y.a=*.",
            &["y.a from *.a because *.y.a", "x.y.a from *.y.a because w.x.y.a"],
        ),
        ("x.y.a y.b *.c a.*.c", &[]),
        ("*.a.rpz-nsdname x.y.a", &[]),
        (
            "*.a.rpz-nsdname x.y.a.rpz-nsdname=*.",
            &["y.a.rpz-nsdname from *.a.rpz-nsdname because x.y.a.rpz-nsdname"],
        ),
    ] {
        assert_eq!(hidden(&look(rules)), wanted, "{rules}");
    }
}

#[test]
fn a_rule_alone_leaves_the_names_below_it() {
    for (rules, wanted) in [
        ("*.a b.a=*.", &["b.a under *.a"][..]),
        ("*.a b.a=*. *.b.a=*.", &[]),
        ("*.a b.a=*. c.b.a", &["b.a under *.a"]),
        ("* a", &["a under *"]),
        ("a b.a c", &[]),
    ] {
        assert_eq!(bare(&look(rules)), wanted, "{rules}");
    }
}

#[test]
fn rules_that_add_nothing() {
    for (rules, wanted) in [
        ("*.a b.a", &["b.a by *.a NXDOMAIN"][..]),
        ("*.a b.a=*.", &[]),
        ("*.a b.a *.b.a", &["b.a by *.a NXDOMAIN", "*.b.a by *.a NXDOMAIN"]),
        ("*.a x.y.a", &["x.y.a by *.a NXDOMAIN"]),
        // without b.a the name would still exist, because of the rule below it
        ("*.a b.a c.b.a=*.", &[]),
        ("*.a b.a *.b.a c.b.a d.b.a=*.", &["c.b.a by *.b.a NXDOMAIN"]),
        ("*.a *.y.a x.y.a", &["*.y.a by *.a NXDOMAIN", "x.y.a by *.a NXDOMAIN"]),
        ("*.a x.*.a", &[]),
        ("*.a=g. b.a=g. c.a=h.", &["b.a by *.a Local-Data"]),
        ("a b.a", &[]),
    ] {
        assert_eq!(redundant(&look(rules)), wanted, "{rules}");
    }
}

#[test]
fn prefixes_inside_others() {
    let audit = look(
        "8.0.0.0.10.rpz-ip 16.0.0.1.10.rpz-ip 24.0.2.2.10.rpz-ip=*. 32.1.2.2.10.rpz-ip=*. \
         24.0.1.1.10.rpz-ip=*. 32.1.1.1.10.rpz-ip 8.0.0.0.10.rpz-client-ip \
         32.zz.db8.2001.rpz-nsip 48.zz.1.db8.2001.rpz-nsip 24.0.2.2.10.rpz-ip",
    );
    let wanted = [
        "16.0.0.1.10.rpz-ip by 8.0.0.0.10.rpz-ip NXDOMAIN",
        "32.1.2.2.10.rpz-ip by 24.0.2.2.10.rpz-ip NODATA",
        "48.zz.1.db8.2001.rpz-nsip by 32.zz.db8.2001.rpz-nsip NXDOMAIN",
    ];
    assert_eq!(redundant(&audit), wanted);
    let double = &audit.conflicts.first[0];
    assert_eq!((double.owner.as_str(), audit.conflicts.total), ("24.0.2.2.10.rpz-ip", 1));
    assert_eq!((double.in_force, double.void), (Action::Nodata, Action::Nxdomain));
}

#[test]
fn doubles_and_where_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("z");
    let lines = "a CNAME .\nA CNAME *.\n*.b CNAME .\nb CNAME .\n*.B CNAME .\na CNAME .\n\
                 x.rpz-nsdname CNAME .\nx.rpz-nsdname CNAME rpz-drop.\nc..d CNAME .\n";
    std::fs::write(&path, format!("{HEAD}{lines}")).unwrap();
    let (limits, origin) = (Limits::default(), "rpz.test".parse().unwrap());
    let rules = load(&path, &origin, Form::Zone, &limits).unwrap();
    let mut audit = audit(&rules);
    audit.locate(&path, Form::Zone, &limits).unwrap();
    let at = |double: &Double| {
        let lines: Vec<u32> = double.written.iter().map(|written| written.line).collect();
        format!("{} {} {}: {lines:?}", double.owner, double.in_force, double.void)
    };
    let conflicts: Vec<String> = audit.conflicts.first.iter().map(at).collect();
    assert_eq!(conflicts, ["a NXDOMAIN NODATA: [2, 3, 7]", "x.rpz-nsdname NXDOMAIN DROP: [8, 9]"]);
    let duplicates: Vec<String> = audit.duplicates.first.iter().map(at).collect();
    assert_eq!(duplicates, ["a NXDOMAIN NXDOMAIN: [2, 3, 7]", "*.b NXDOMAIN NXDOMAIN: [4, 6]"]);
    let skipped = &audit.skipped.first[0];
    assert_eq!((skipped.line, skipped.reason.as_str()), (10, "the name has an empty label"));
    assert!(!audit.is_clean());
}

#[test]
fn examples_are_bounded_and_counts_are_not() {
    let many = limits::AUDIT_EXAMPLES + 5;
    let mut text = String::from("*.a ");
    for i in 0..many {
        text.push_str(&format!("n{i}.a n{i}.a x{i}.y{i}.a=*. "));
    }
    let audit = look(&text);
    for (total, kept) in [
        (audit.duplicates.total, audit.duplicates.first.len()),
        (audit.hidden.total, audit.hidden.first.len()),
        (audit.redundant.total, audit.redundant.first.len()),
    ] {
        assert_eq!((total, kept), (many as u64, limits::AUDIT_EXAMPLES));
    }
    // names with as many labels as there can be
    let deep = "a.".repeat(120);
    let audit = look(&format!("* {deep}b b.{deep}c=*. c=*."));
    assert_eq!((audit.hidden.total, audit.bare.total), (120, 2));
}

/// Rules on few names, so that they meet often.
fn some_rules() -> impl Strategy<Value = BTreeMap<String, bool>> {
    let owner = proptest::collection::vec("[ab]|aa", 1..5).prop_map(|labels| labels.join("."));
    let owner = (any::<bool>(), owner);
    let owner = owner.prop_map(|(wild, name)| if wild { format!("*.{name}") } else { name });
    proptest::collection::btree_map(owner, any::<bool>(), 1..12)
}

/// All names of up to five labels that could meet them.
fn names() -> Vec<Name> {
    let mut all = vec![String::new()];
    for depth in 0..5 {
        let deeper = all.iter().filter(|name| name.matches('.').count() == depth);
        let deeper =
            deeper.flat_map(|name| ["a", "b", "aa", "q"].map(|label| format!("{label}.{name}")));
        let deeper: Vec<String> = deeper.collect();
        all.extend(deeper);
    }
    all[1..].iter().map(|name| name.parse().unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Without the redundant rules every name that had an action has the same; a name that is
    /// told to be hidden has no rule.
    #[test]
    fn findings_are_true(rules in some_rules()) {
        let text = |(owner, nodata): (&String, &bool)| {
            format!("{owner}={}", if *nodata { "*." } else { "." })
        };
        let found = look(&rules.iter().map(text).collect::<Vec<_>>().join(" "));
        let gone: Vec<&str> = found.redundant.first.iter().map(|r| r.owner.as_str()).collect();
        prop_assert_eq!(gone.len(), gone.iter().collect::<std::collections::BTreeSet<_>>().len());
        let (mut all, mut fewer) = (Oracle::new(), Oracle::new());
        for (owner, nodata) in &rules {
            let code = u32::from(*nodata);
            all.add(0, &owner.parse().unwrap(), code);
            if !gone.contains(&owner.as_str()) {
                fewer.add(0, &owner.parse().unwrap(), code);
            }
        }
        let action = |rule: Option<NameRule>| {
            rule.map(|rule| ActionCode::from_u32(rule.action).action())
        };
        for name in names() {
            let before = action(all.find(&name).rule(0));
            let after = action(fewer.find(&name).rule(0));
            prop_assert!(before.is_none() || before == after, "{name}: {before:?} {after:?}");
        }
        for hidden in &found.hidden.first {
            let name: Name = hidden.name.parse().unwrap();
            prop_assert!(all.find(&name).rule(0).is_none(), "{name}");
            let wildcard: Name = hidden.wildcard.parse().unwrap();
            prop_assert!(name.is_within(&wildcard.parent()) && rules.contains_key(&hidden.because));
        }
        for bare in &found.bare.first {
            let below: Name = format!("q.{}", bare.name).parse().unwrap();
            prop_assert!(all.find(&below).rule(0).is_none(), "{below}");
        }
    }
}
