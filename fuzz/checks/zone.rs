//! Text of a zone in every form: what is read is found by the matcher as the oracle finds it, and
//! each rule stands on some line.

use std::path::Path;

use culvert::dns::name::Name;
use culvert::policy::oracle::agreement;
use culvert::policy::rules::ZoneRules;
use culvert::policy::trigger::TriggerKind;
use culvert::rpz::{Form, Limits, Wanted, audit, find_rules, load, parse};

/// Rules whose lines are looked for.
const LOOKED_FOR: usize = 16;

/// Checks one input.
pub fn check(octets: &[u8]) {
    let Some((switches, text)) = octets.split_first() else { return };
    let subdomains = switches & 1 != 0;
    let form = match switches >> 1 & 3 {
        0 | 1 => Form::Zone,
        2 => Form::Domains { subdomains },
        _ => Form::Hosts { subdomains },
    };
    let limits = Limits { max_rules: 500, max_include_depth: 0, ..Limits::default() };
    let origin: Name = "rpz.test".parse().expect("a name");
    let Ok(rules) = parse(text, Path::new("fuzzed"), &origin, form, &limits) else { return };
    assert!(rules.len() <= limits.max_rules);
    assert_eq!(rules.counts.total(), rules.len() as u64);
    if let Err(difference) = agreement::of_zone(&rules) {
        panic!("{difference}");
    }
    let told = audit(&rules);
    serde_json::to_string(&told).expect("an audit can be written");
    // one in eight, as files cost time
    if switches >> 5 == 0 {
        lines(text, &origin, form, &limits, &rules);
    }
}

/// Each rule stands on a line of the text.
fn lines(text: &[u8], origin: &Name, form: Form, limits: &Limits, rules: &ZoneRules) {
    let path = std::env::temp_dir().join(format!("culvert-fuzz-{}.zone", std::process::id()));
    std::fs::write(&path, text).expect("a file can be written");
    let again = load(&path, origin, form, limits).expect("a file is read as text is");
    assert_eq!(again.len(), rules.len());
    let of = |kind, wire: &[u8]| Wanted::Name(kind, Name::from_wire(wire).expect("an owner"));
    let names = rules.names.iter().map(|(wire, _)| of(TriggerKind::Qname, wire));
    let servers = rules.nsdnames.iter().map(|(wire, _)| of(TriggerKind::Nsdname, wire));
    let prefixes = rules.prefixes.iter().map(|(kind, net, _)| Wanted::Prefix(*kind, *net));
    let wanted: Vec<Wanted> = names.chain(servers).chain(prefixes).take(LOOKED_FOR).collect();
    let found = find_rules(&path, origin, form, limits, &wanted).expect("a good zone");
    for (wanted, found) in wanted.iter().zip(&found) {
        assert!(!found.is_empty(), "{wanted:?} stands nowhere");
        let printable = |text: &str| text.bytes().all(|octet| matches!(octet, 0x20..=0x7e));
        assert!(found.iter().all(|written| printable(&written.text) && written.line > 0));
    }
    std::fs::remove_file(&path).expect("the file is there");
}
