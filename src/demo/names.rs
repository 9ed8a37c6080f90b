//! What the demonstration is made of: the backends' names, the sample policy, the settings.

use std::net::SocketAddr;

use crate::dns::name::Name;
use crate::dns::rtype;

/// Host of the demonstration's service URL; the name in its certificates.
pub(super) const HOST: &str = "doh.demo.example";

/// A record that the backends know: owner, type, TTL, data in wire form.
pub(super) struct Known {
    pub(super) owner: Name,
    pub(super) rtype: u16,
    pub(super) ttl: u32,
    pub(super) rdata: Vec<u8>,
}

/// Addresses that the backends know.
const ADDRESSES: &[(&str, u32, [u8; 4])] = &[
    ("www.example.com", 300, [192, 0, 2, 10]),
    ("fresh.example.com", 300, [192, 0, 2, 11]),
    ("short.example.com", 1, [192, 0, 2, 12]),
    ("blocked.example", 300, [198, 51, 100, 1]),
    ("www.blocked.example", 300, [198, 51, 100, 2]),
    ("ok.blocked.example", 300, [198, 51, 100, 3]),
    ("nodata.example", 300, [198, 51, 100, 4]),
    ("garden.example", 300, [198, 51, 100, 5]),
    ("local.example", 300, [198, 51, 100, 6]),
    ("drop.example", 300, [198, 51, 100, 7]),
    ("tcp.example", 300, [198, 51, 100, 8]),
    ("watched.example", 300, [198, 51, 100, 9]),
    ("page.demo.example", 300, [192, 0, 2, 99]),
];

/// All records of the backends.
pub(super) fn records() -> Vec<Known> {
    let name = |text: &str| text.parse().expect("the names in this file are valid");
    let mut records: Vec<Known> = ADDRESSES
        .iter()
        .map(|(owner, ttl, address)| Known {
            owner: name(owner),
            rtype: rtype::A,
            ttl: *ttl,
            rdata: address.to_vec(),
        })
        .collect();
    let target: Name = name("www.blocked.example");
    records.push(Known {
        owner: name("alias.example.com"),
        rtype: rtype::CNAME,
        ttl: 300,
        rdata: target.as_wire().to_vec(),
    });
    // an answer that does not fit into a datagram
    for i in 0..20u8 {
        let mut rdata = vec![90];
        rdata.extend(std::iter::repeat_n(b'a' + i, 90));
        records.push(Known {
            owner: name("large.example.com"),
            rtype: rtype::TXT,
            ttl: 300,
            rdata,
        });
    }
    records
}

/// The policy of the demonstration.
pub(super) const SAMPLE_ZONE: &str = "\
$TTL 300
@                   SOA   localhost. nobody.invalid. 1 3600 600 86400 60
@                   NS    localhost.
; a name and everything below it does not exist ...
blocked.example     CNAME .
*.blocked.example   CNAME .
; ... but this one does
ok.blocked.example  CNAME rpz-passthru.
nodata.example      CNAME *.
garden.example      CNAME page.demo.example.
local.example       A     192.0.2.77
drop.example        CNAME rpz-drop.
tcp.example         CNAME rpz-tcp-only.
";

/// A second zone, which only watches.
pub(super) const WATCH_ZONE: &str = "\
$TTL 300
@                   SOA   localhost. nobody.invalid. 1 3600 600 86400 60
@                   NS    localhost.
watched.example     CNAME .
";

/// The configuration of the demonstration's relay.
pub(super) fn config(listen: SocketAddr, addresses: &str, quiet: bool) -> String {
    let status = match quiet {
        true => "off".to_owned(),
        false => SocketAddr::new(listen.ip(), 8053).to_string(),
    };
    format!(
        "\
[server]
name    = \"demo\"
listen  = [\"{listen}\"]
control = \"control.sock\"
state   = \"state\"
workers = 1

[[upstream]]
name      = \"service\"
url       = \"https://{HOST}/dns-query\"
addresses = [{addresses}]
ca        = \"ca.pem\"

[local.hosts]
\"printer.corp.example\" = [\"10.0.0.9\"]

[[policy]]
zone = \"sample.policy\"
file = \"sample.rpz\"

[[policy]]
zone = \"watch.policy\"
file = \"watch.rpz\"
mode = \"monitor\"

[status]
listen = \"{status}\"
"
    )
}
