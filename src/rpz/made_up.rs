//! Made-up policy zones for tests: all kinds of rules, few names, so that they meet.

use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;

use crate::dns::name::Name;
use crate::policy::rules::ZoneRules;
use crate::rpz::lines::Text;
use crate::rpz::sink::Sink;
use crate::rpz::{Form, Gather, Limits, Refusal, parse, scan};

/// The zone's name.
pub(crate) const ZONE: &str = "rpz.test";

const LABELS: [&str; 16] = [
    "a",
    "b",
    "bad",
    "example",
    "Example",
    "xn--1",
    "_s",
    "9",
    "-",
    r"a\.b",
    r"\000\255",
    r"\@",
    r"\$ttl",
    r"q\;\(\)",
    r"\032\\",
    "long-label-of-some-forty-octets-or-a-bit-more",
];

const PREFIXES: [&str; 8] = [
    "32.1.2.0.192",
    "24.0.2.0.192",
    "8.0.0.0.10",
    "1.0.0.0.128",
    "128.57.zz.101.db8.2001",
    "48.zz.1.db8.2001",
    "128.8.7.6.5.4.3.2.1",
    "16.zz",
];

const DATA: [&str; 24] = [
    "CNAME .",
    "CNAME .",
    "CNAME *.",
    "CNAME rpz-passthru.",
    "CNAME RPZ-Drop.",
    "CNAME rpz-tcp-only.",
    "CNAME Garden.test.",
    "CNAME *.garden.test.",
    r"CNAME a\.b.\@.\000.",
    "CNAME rpz-unknown.",
    "A 192.0.2.1",
    "A 192.0.2.2",
    "AAAA 2001:db8::1",
    "AAAA ::ffff:192.0.2.1",
    r#"TXT "a b" "" "\"\\;\255""#,
    "TXT @",
    "MX 10 mail.test.",
    r"MX 0 \;.",
    "SRV 0 65535 443 s.test.",
    "PTR p.test.",
    r"TYPE65400 \# 3 abcdef",
    r"TYPE65400 \# 0",
    r#"HTTPS 1 . alpn="h2,h3""#,
    "NS ns.test.",
];

/// The text of a zone with some of up to `most` records.
pub(crate) fn text(rng: &mut Rng, most: usize) -> String {
    let serial = rng.u32(1..5);
    let mut out = format!("$TTL 60\n@ {serial}0 SOA Ns.test. \\@.test. {serial} 1 2 3 4\n");
    out.push_str("@ NS localhost.\n@ 5 TXT apex\n");
    for _ in 0..rng.usize(..=most) {
        let labels: Vec<&str> =
            (0..rng.usize(1..4)).map(|_| LABELS[rng.usize(..LABELS.len())]).collect();
        let star = if rng.u8(..4) == 0 { "*." } else { "" };
        let name = format!("{star}{}", labels.join("."));
        let prefix = PREFIXES[rng.usize(..PREFIXES.len())];
        let owner = match rng.u8(..10) {
            0 => format!("{prefix}.rpz-ip"),
            1 => format!("{prefix}.rpz-nsip"),
            2 => format!("{prefix}.rpz-client-ip"),
            3 => format!("{name}.rpz-nsdname"),
            _ => name,
        };
        let ttl = ["", "0", "60", "2147483647"][rng.usize(..4)];
        out.push_str(&format!("{owner} {ttl} IN {}\n", DATA[rng.usize(..DATA.len())]));
    }
    out
}

/// The rules of a zone's text, as those of a file.
pub(crate) fn listed(text: &str) -> ZoneRules {
    let limits = Limits::default();
    let rules = parse(text.as_bytes(), Path::new("made-up"), &origin(), Form::Zone, &limits);
    rules.expect("a made-up zone is good")
}

/// The rules of a zone's text, as those of a transfer.
pub(crate) fn gathered(text: &str) -> ZoneRules {
    let text = Text::given(text.as_bytes(), Path::new("made-up"));
    let gather = Gather::new(origin(), Limits::default().max_rules);
    let sink = Primary { gather, has_soa: false };
    let sink = scan(text, &origin(), Form::Zone, &Limits::default(), sink);
    let rules = sink.map(|sink| sink.gather.finish());
    rules.expect("a made-up zone is good").expect("what it holds is good too")
}

fn origin() -> Name {
    ZONE.parse().expect("the name of the zone is good")
}

/// Has the records of a text transferred.
struct Primary {
    gather: Gather,
    has_soa: bool,
}

impl Sink for Primary {
    fn begin(&mut self, _line: u32, _text: &[u8]) {}

    fn at_file(&mut self, _file: Option<Arc<str>>) {}

    fn record(&mut self, owner: &[u8], rtype: u16, ttl: u32, rdata: &[u8]) -> Result<(), Refusal> {
        self.has_soa = true;
        self.gather.record(owner, rtype, ttl, rdata)
    }

    fn has_soa(&self) -> bool {
        self.has_soa
    }
}
