//! A made-up name space: what the authoritative server serves and what there is to ask for.
//!
//! ```text
//!  .            alpha.  beta.  gamma.            tops, with name servers of their own
//!  siteN.TOP    deep.siteN.TOP                   sites: hosts, aliases, wildcards, odd names
//!  farm.alpha.  racks.beta.                      where the name servers live
//!  signed.beta.                                  DNSSEC, when the profile has it
//!  broken.gamma.                                 SERVFAIL for every name
//!  garden.gamma.                                 where rules send people
//! ```

use super::dice::Dice;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// How much of the protocol a run exercises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Client addresses, names and answer addresses.
    Core,
    /// Also name servers by name and by address.
    Ns,
    /// Core with misspelt and meaningless rules among the good ones.
    Junk,
    /// Everything, and queries with unusual flags, signed zones included.
    Full,
}

impl Profile {
    /// Whether rules look at name servers.
    pub fn servers(self) -> bool {
        matches!(self, Profile::Ns | Profile::Full)
    }

    /// Whether rules are misspelt.
    pub fn junk(self) -> bool {
        matches!(self, Profile::Junk | Profile::Full)
    }
}

/// Zones with their records and everything worth asking for.
pub struct World {
    /// Origins without the last dot, and master-file lines relative to them.
    pub zones: BTreeMap<String, Vec<String>>,
    /// Origins that the server has no data for, so that every name fails.
    pub broken: Vec<String>,
    /// Origins that are signed.
    pub signed: Vec<String>,
    /// Names to ask for, in text form without the last dot.
    pub names: Vec<String>,
    /// Names with data of several types that nothing points to.
    pub whole: Vec<String>,
    /// Names of name servers.
    pub servers: Vec<String>,
}

const TOPS: [&str; 3] = ["alpha", "beta", "gamma"];
const SITES: usize = 8;
const HOSTS: [&str; 7] = ["www", "mail", "app", "cdn", "a", "b", "c"];

/// Names whose chains never end well: one fails, two go round.
pub const INCOMPLETE: [&str; 3] = ["fails.site4.beta", "round.site4.beta", "about.site4.beta"];

/// Labels that a careless parser trips over.
const ODD: [&str; 14] = [
    r"dot\.ted",
    r"bl\032ank",
    r"nul\000l",
    r"hi\255gh",
    r"back\\slash",
    r"quo\034te",
    r"semi\059colon",
    r"do\036llar",
    "_dmarc",
    "inner.*.star",
    "7",
    "32.1.9.64.100.rpz-ip",
    "rpz-drop",
    "zz",
];

/// Addresses of hosts.
pub fn addresses4() -> Vec<Ipv4Addr> {
    let mut all = Vec::new();
    for third in [0, 1, 127, 128] {
        all.extend([1, 2, 9, 10, 130].map(|last| Ipv4Addr::new(10, 20, third, last)));
    }
    all.extend([1, 4, 5, 64, 255].map(|last| Ipv4Addr::new(203, 0, 113, last)));
    all.extend([Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, Ipv4Addr::new(128, 0, 0, 1)]);
    all
}

/// IPv6 addresses of hosts. None is an IPv4 address in disguise: the reference keeps both
/// families in one tree, and cases of their own say what comes of it.
pub fn addresses6() -> Vec<Ipv6Addr> {
    let mut all = Vec::new();
    for third in [0, 1, 0xFF] {
        all.extend([1, 2, 0xA].map(|n| Ipv6Addr::new(0x2001, 0xDB8, third, 0, 0, 0, 0, n)));
    }
    all.extend([
        Ipv6Addr::new(0x2001, 0xDB8, 0, 1, 0, 0, 0, 1),
        Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 1, 0, 0, 1),
        Ipv6Addr::new(0x2001, 0xDB8, 0, 1, 1, 1, 1, 1),
        Ipv6Addr::new(0x2001, 0xDB8, 1, 2, 3, 4, 5, 6),
        Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, 1),
        Ipv6Addr::LOCALHOST,
    ]);
    all
}

/// Addresses that only misspelt rules are about.
const JUNK4: Ipv4Addr = Ipv4Addr::new(100, 64, 9, 1);
const JUNK6: Ipv6Addr = Ipv6Addr::new(0x3FFF, 0xBAD, 0, 1, 0, 0, 0, 1);

/// Addresses that rules in strange clothes are about.
pub fn strange_addresses() -> [Ipv6Addr; 3] {
    [1, 2, 0x10].map(|n| Ipv6Addr::new(0x3FFF, 0xCAFE, 0, 1, 0, 0, 0, n))
}

/// Addresses of name servers.
pub fn server_addresses() -> (Vec<Ipv4Addr>, Vec<Ipv6Addr>) {
    let four = (1..=10).map(|n| Ipv4Addr::new(198, 51, 100, n * 11)).collect();
    let six = (1..=4).map(|n| Ipv6Addr::new(0x2001, 0xDB8, 0x53, 0, 0, 0, 0, n)).collect();
    (four, six)
}

/// The world of a seed.
pub fn world(profile: Profile, seed: u64) -> World {
    let mut builder = Builder {
        dice: Dice::new("world", seed),
        profile,
        world: World {
            zones: BTreeMap::new(),
            broken: vec!["broken.gamma".into()],
            signed: Vec::new(),
            names: vec!["alpha".into(), "no.such.name".into(), "x.broken.gamma".into()],
            whole: Vec::new(),
            servers: Vec::new(),
        },
    };
    builder.server_farms();
    builder.tops();
    let sites: Vec<String> = (0..SITES).map(|n| format!("site{n}.{}", TOPS[n % 3])).collect();
    for site in &sites {
        builder.site(site);
    }
    for child in ["deep.site0.alpha", "deep.site1.beta", "down.deeper.site2.gamma"] {
        builder.site(child);
    }
    builder.aliases(&sites);
    builder.garden();
    if profile == Profile::Full {
        builder.signed_zone();
    }
    builder.world
}

struct Builder {
    dice: Dice,
    profile: Profile,
    world: World,
}

impl Builder {
    fn add(&mut self, zone: &str, line: String) {
        self.world.zones.entry(zone.to_owned()).or_default().push(line);
    }

    fn four(&mut self) -> Ipv4Addr {
        *self.dice.from(&addresses4())
    }

    /// Name servers, some with two addresses, some with IPv6; one is an alias, one has nothing.
    fn server_farms(&mut self) {
        let (four, six) = server_addresses();
        let names = [
            ("farm.alpha", "ns1"),
            ("farm.alpha", "ns2"),
            ("farm.alpha", "NS3"),
            ("racks.beta", "a"),
            ("racks.beta", "z"),
            ("racks.beta", "ns.far"),
        ];
        for (zone, label) in names {
            let count = 1 + self.dice.below(2);
            for address in self.dice.some(&four, count) {
                self.add(zone, format!("{label} A {address}"));
            }
            if self.dice.percent(50) {
                let address = *self.dice.from(&six);
                self.add(zone, format!("{label} AAAA {address}"));
            }
            self.world.servers.push(format!("{label}.{zone}"));
            self.world.names.push(format!("{label}.{zone}"));
        }
        self.add("farm.alpha", "alias CNAME ns1".into());
        self.add("farm.alpha", "nothing TXT \"no address\"".into());
        for zone in ["farm.alpha", "racks.beta"] {
            let server = self.server();
            self.add(zone, format!("@ NS {server}."));
        }
    }

    fn server(&mut self) -> String {
        self.dice.from(&self.world.servers).clone()
    }

    fn tops(&mut self) {
        self.add("", "@ NS root-server.".into());
        self.add("", "root-server A 198.51.100.250".into());
        for top in TOPS {
            // named wants an address in the zone for a server inside it.
            let servers = self.world.servers.iter().filter(|s| !s.ends_with(top));
            let servers: Vec<_> = servers.cloned().collect();
            let server = self.dice.from(&servers).clone();
            self.add(top, format!("@ NS {server}."));
        }
    }

    /// A zone that looks delegated, with hosts of all sorts.
    fn site(&mut self, zone: &str) {
        self.server_set(zone);
        let mut names = vec![zone.to_owned(), format!("ns.{zone}"), format!("none.{zone}")];
        if self.dice.percent(50) {
            let address = self.four();
            self.add(zone, format!("@ A {address}"));
        }
        for host in HOSTS {
            self.host(zone, host);
            names.push(format!("{host}.{zone}"));
        }
        let lines = [
            format!("mx A {}", self.four()),
            format!("text TXT \"only text in {zone}\""),
            format!("leaf.hollow.e A {}", self.four()),
            format!("*.wild A {}", self.four()),
            "*.also CNAME www".to_owned(),
            format!("all A {}", self.four()),
            "all TXT \"several types\"".to_owned(),
            "svc HTTPS 1 . alpn=h2".to_owned(),
            format!("svc A {}", self.four()),
        ];
        for line in lines {
            self.add(zone, line);
        }
        for name in ["text", "leaf.hollow.e", "hollow.e", "x.wild", "y.x.wild", "q.also", "svc"] {
            names.push(format!("{name}.{zone}"));
        }
        for label in self.dice.some(&ODD, 3) {
            let address = self.four();
            self.add(zone, format!("{label} A {address}"));
            names.push(format!("{label}.{zone}"));
        }
        if self.profile.junk() {
            for (n, address) in strange_addresses().iter().enumerate() {
                self.add(zone, format!("strange{n} AAAA {address}"));
                names.push(format!("strange{n}.{zone}"));
            }
            self.add(zone, format!("junk A {JUNK4}"));
            self.add(zone, format!("junk AAAA {JUNK6}"));
            names.push(format!("junk.{zone}"));
        }
        self.world.whole.push(format!("all.{zone}"));
        self.world.names.extend(names);
    }

    fn server_set(&mut self, zone: &str) {
        let count = 1 + self.dice.below(3);
        let mut set = self.dice.some(&self.world.servers, count);
        let (four, _) = server_addresses();
        let own = *self.dice.from(&four);
        self.add(zone, format!("ns A {own}"));
        for (chance, server) in [
            (35, format!("ns.{zone}")),
            (12, "alias.farm.alpha".to_owned()),
            (12, "nothing.farm.alpha".to_owned()),
            (12, "missing.farm.alpha".to_owned()),
            (12, String::new()),
        ] {
            if self.dice.percent(chance) {
                set.push(server);
            }
        }
        for server in set {
            self.add(zone, format!("@ NS {server}."));
        }
    }

    fn host(&mut self, zone: &str, host: &str) {
        let fours = [0, 1, 1, 1, 2, 3][self.dice.below(6)];
        for address in self.dice.some(&addresses4(), fours) {
            self.add(zone, format!("{host} A {address}"));
        }
        let sixes = [0, 0, 1, 2][self.dice.below(4)];
        for address in self.dice.some(&addresses6(), sixes) {
            self.add(zone, format!("{host} AAAA {address}"));
        }
        if fours + sixes == 0 || self.dice.percent(30) {
            self.add(zone, format!("{host} TXT \"{host} of {zone}\""));
        }
        if self.dice.percent(20) {
            self.add(zone, format!("{host} MX 10 mx.{zone}."));
        }
    }

    /// Aliases between sites, chains of them, into nothing, into failure, and in a circle.
    fn aliases(&mut self, sites: &[String]) {
        let complete = |name: &&String| !name.ends_with("broken.gamma");
        let ends: Vec<_> = self.world.names.iter().filter(complete).cloned().collect();
        for site in sites {
            for n in 0..4 {
                let end = self.dice.from(&ends).clone();
                self.alias(site, &format!("to{n}"), &end);
            }
        }
        for length in 1..=2 {
            for site in sites {
                let (next, n) = (self.dice.from(sites).clone(), self.dice.below(4));
                let end =
                    if length == 1 { format!("to{n}.{next}") } else { format!("hop1.{next}") };
                self.alias(site, &format!("hop{length}"), &end);
            }
        }
        for (from, end) in [
            ("lost", "missing.site3.alpha"),
            ("fails", "y.broken.gamma"),
            ("round", "about.site4.beta"),
            ("about", "round.site4.beta"),
        ] {
            self.alias("site4.beta", from, end);
        }
        let to = self.dice.from(sites).clone();
        self.add("site5.gamma", format!("tree DNAME {to}."));
        for name in ["tree", "www.tree", "to0.tree", "hop1.tree", "none.tree"] {
            self.world.names.push(format!("{name}.site5.gamma"));
        }
        let long = ["l", "o", "n"].map(|c| c.repeat(60)).join(".") + "." + &"g".repeat(40);
        let address = self.four();
        self.add("site6.alpha", format!("{long} A {address}"));
        self.world.names.push(format!("{long}.site6.alpha"));
    }

    fn alias(&mut self, zone: &str, from: &str, end: &str) {
        self.add(zone, format!("{from} CNAME {end}."));
        self.world.names.push(format!("{from}.{zone}"));
    }

    fn garden(&mut self) {
        for line in [
            "@ NS ns1.farm.alpha.",
            "web A 127.0.0.80",
            "web AAAA ::80",
            "web TXT \"the garden\"",
            "gate CNAME web",
            "bare TXT \"no address\"",
            "*.each A 127.0.0.81",
        ] {
            self.add("garden.gamma", line.to_owned());
        }
    }

    fn signed_zone(&mut self) {
        let zone = "signed.beta";
        self.world.signed.push(zone.to_owned());
        let (first, second) = (self.four(), self.four());
        for line in [
            "@ NS ns1.farm.alpha.".to_owned(),
            format!("www A {first}"),
            format!("app A {second}"),
            "www TXT \"signed text\"".to_owned(),
            "in CNAME www".to_owned(),
            "out CNAME www.site0.alpha.".to_owned(),
        ] {
            self.add(zone, line);
        }
        for name in ["www", "app", "in", "out", "none"] {
            self.world.names.push(format!("{name}.{zone}"));
        }
        self.alias("site7.beta", "tosigned", "www.signed.beta");
        self.alias("site7.beta", "toin", "in.signed.beta");
    }
}

impl World {
    /// A zone's master file.
    pub fn text(&self, origin: &str) -> String {
        let dot = if origin.is_empty() { "" } else { "." };
        let mut text = format!(
            "$ORIGIN {origin}.\n$TTL 300\n\
             @ SOA mname{dot}{origin}. host{dot}{origin}. 1 3600 600 86400 60\n"
        );
        for line in &self.zones[origin] {
            writeln!(text, "{line}").expect("a String takes all");
        }
        text
    }
}
