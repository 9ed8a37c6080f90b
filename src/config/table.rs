//! Every section and every key of the configuration file, declared once.
//!
//! The check for unknown keys, the types and ranges, the defaults, the commented template and
//! `docs/CONFIG.md` all come from here. A path is the key's place in the file; `[]` marks a
//! section that may be given several times.

use std::time::Duration;

use super::quantity::{show_duration, show_size};
use super::settings::{Ede, Enforcement, Expired, LogFormat, Mode, Outside, ZoneFormat};

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Bool,
    Integer {
        min: u64,
        max: u64,
    },
    /// A short name of the operator's choice.
    Label,
    /// The name of a group of this host, or nothing.
    Group,
    Choice(&'static [&'static str]),
    Duration {
        min: Duration,
        max: Duration,
    },
    /// A duration in whole seconds.
    Ttl {
        min: Duration,
        max: Duration,
    },
    /// Octets.
    Size {
        min: u64,
        max: u64,
    },
    Path,
    Name,
    Names {
        min: usize,
    },
    Listen,
    Allow,
    /// Networks and single addresses of clients.
    Networks {
        min: usize,
    },
    Addresses {
        min: usize,
    },
    Url,
    UrlPaths,
    /// Servers to transfer a zone from.
    Primaries,
    /// The URL of a list.
    ListUrl,
    /// A SHA-256 checksum, or where it is published.
    Checksum,
    /// A secret in base64.
    Base64,
    Status,
    Action,
    Hits,
    UntilLoaded,
}

/// What holds when a key is left out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Missing {
    /// This value, as TOML.
    Default(&'static str),
    /// What the words say; an example of a value, as TOML.
    Means(&'static str, &'static str),
    /// It is a fault; an example of a value, as TOML.
    Fault(&'static str),
}

/// Whether this version acts on a section.
#[derive(Clone, Copy, Debug)]
pub(super) enum Status {
    Ready,
    /// It is known and refused; the text says what there is instead.
    NotYet(&'static str),
}

/// One key.
#[derive(Debug)]
pub(super) struct Setting {
    /// Section and key, joined by a dot.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    pub(super) missing: Missing,
    pub(super) help: &'static str,
}

/// One section.
#[derive(Debug)]
pub(super) struct Section {
    /// Empty for the file's top.
    pub(super) path: &'static str,
    pub(super) help: &'static str,
    pub(super) status: Status,
}

impl Setting {
    /// The section's path.
    pub(super) fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// The key within its section.
    pub(super) fn key(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, key)| key)
    }
}

impl Section {
    /// True if the section may be given several times.
    pub(super) fn is_list(&self) -> bool {
        self.path.ends_with("[]")
    }

    /// The section it lies in, and its own name there; `None` for the file's top.
    pub(super) fn place(&self) -> Option<(&'static str, &'static str)> {
        let path = self.path.trim_end_matches("[]");
        if path.is_empty() { None } else { Some(path.rsplit_once('.').unwrap_or(("", path))) }
    }

    /// The header as it stands in the file.
    pub(super) fn header(&self) -> String {
        match self.path.strip_suffix("[]") {
            Some(path) => format!("[[{path}]]"),
            None => format!("[{}]", self.path),
        }
    }
}

/// The keys of a section, in the order they are documented.
pub(super) fn settings_of(section: &str) -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(move |setting| setting.section() == section)
}

/// The sections directly within a section.
pub(super) fn sections_in(section: &str) -> impl Iterator<Item = (&'static str, &'static Section)> {
    SECTIONS.iter().filter_map(move |child| {
        let (parent, name) = child.place()?;
        (parent == section).then_some((name, child))
    })
}

impl Kind {
    /// What the key takes, in words.
    pub(super) fn describe(&self) -> String {
        let times = |min, max| format!("{} to {}", show_duration(min), show_duration(max));
        match *self {
            Kind::Bool => "true or false".to_owned(),
            Kind::Integer { min, max } if min == max => format!("the integer {min}"),
            Kind::Integer { min, max } => format!("an integer, {min} to {max}"),
            Kind::Label => "a short name".to_owned(),
            Kind::Group => "a group of this host, or \"\"".to_owned(),
            Kind::Choice(words) => format!("one of \"{}\"", words.join("\", \"")),
            Kind::Duration { min, max } => format!("a duration, {}", times(min, max)),
            Kind::Ttl { min, max } => format!("a duration in whole seconds, {}", times(min, max)),
            Kind::Size { min, max } => format!("a size, {} to {}", show_size(min), show_size(max)),
            Kind::Path => "a path".to_owned(),
            Kind::Name => "a domain name".to_owned(),
            Kind::Names { .. } => "a list of domain names".to_owned(),
            Kind::Listen => "a list of addresses with ports".to_owned(),
            Kind::Allow | Kind::Networks { .. } => "a list of networks".to_owned(),
            Kind::Addresses { .. } => "a list of addresses".to_owned(),
            Kind::Url => "an https URL".to_owned(),
            Kind::UrlPaths => "a list of URL paths".to_owned(),
            Kind::Primaries => "a list of addresses, or of \"tls://ADDR#NAME\"".to_owned(),
            Kind::ListUrl => "an https URL".to_owned(),
            Kind::Checksum => "64 hexadecimal digits, or an https URL".to_owned(),
            Kind::Base64 => "base64".to_owned(),
            Kind::Status => "an address with a port, or \"off\"".to_owned(),
            Kind::Action => format!("one of \"{}\" or \"cname:NAME\"", ACTIONS.join("\", \"")),
            Kind::Hits => "\"journal\", \"stderr\" or a path".to_owned(),
            Kind::UntilLoaded => "\"servfail\" or \"open-after-DURATION\"".to_owned(),
        }
    }
}

/// The words of `policy[].action` that stand alone.
pub(super) const ACTIONS: &[&str] =
    &["given", "passthru", "drop", "tcp-only", "nxdomain", "nodata"];

/// The words of `tsig[].algorithm`, the default first.
pub(super) const ALGORITHMS: &[&str] =
    &["hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha1", "hmac-md5"];

/// Most policy zones.
pub(super) const MAX_POLICIES: usize = 64;
/// Most upstreams.
pub(super) const MAX_UPSTREAMS: usize = 64;

const fn ready(path: &'static str, help: &'static str) -> Section {
    Section { path, help, status: Status::Ready }
}

const fn later(path: &'static str, reason: &'static str, help: &'static str) -> Section {
    Section { path, help, status: Status::NotYet(reason) }
}

/// All sections, in the order they are documented.
pub(super) static SECTIONS: &[Section] = &[
    ready("", ""),
    ready("server", "What faces the clients, and the process itself."),
    ready(
        "upstream[]",
        "Where queries go. At least one is needed; the first one is the default. Each has \
         either `url` and `addresses` (DNS over HTTPS) or `servers` (plain DNS).",
    ),
    ready("route[]", "Names that go to another upstream. The longest suffix wins."),
    ready("local", "What is answered here without asking anybody."),
    ready(
        "local.hosts",
        "Host names and their addresses, an address or a list of addresses each: \
         `\"printer.corp.example\" = [\"10.0.0.9\"]`. A, AAAA and the reverse PTR are answered.",
    ),
    ready(
        "policy[]",
        "Response policy zones in their order: the first zone with a match wins. At most 64. Each \
         comes from a file (`file`), by zone transfer (`primaries`) or from the web (`url`).",
    ),
    ready("response_policy", "What holds for all policy zones."),
    ready(
        "tsig[]",
        "Keys that sign zone transfers and NOTIFY (TSIG, RFC 8945). Each has either `secret_file` \
         or `secret`. The secrets are in no message, log or status. At most 256.",
    ),
    ready(
        "group[]",
        "Clients with policy zones or an upstream of their own. Of all groups' networks the \
         longest prefix that holds a client wins. Clients in no group have all policy zones in \
         their order and the default upstream. At most 256.",
    ),
    later(
        "exception[]",
        "write a passthru rule into a local policy zone instead",
        "Names or clients that are let through for a time.",
    ),
    ready("cache", "The answer cache. Answers are kept as the upstream gave them."),
    ready(
        "canary",
        "Names that show whether the service and its policy work. A new version of a transferred \
         or downloaded zone that would change what holds for them waits for `culvert zone accept`.",
    ),
    ready("log", "Policy hits are logged, and nothing else unless told."),
    ready("status", "Metrics, health and status over HTTP."),
];

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const DAY: Duration = seconds(86_400);
const WEEK: Duration = seconds(7 * 86_400);

const fn key(path: &'static str, kind: Kind, missing: Missing, help: &'static str) -> Setting {
    Setting { path, kind, missing, help }
}

use Missing::{Default, Fault, Means};

/// All keys, in the order they are documented.
#[rustfmt::skip] // one key, one paragraph
pub(super) static SETTINGS: &[Setting] = &[
    key("version", Kind::Integer { min: 1, max: 1 }, Default("1"),
        "Version of this file's form."),

    key("server.name", Kind::Label, Means("the host's name", "\"relay-1\""),
        "Name of this relay in every log record and metric."),
    key("server.listen", Kind::Listen, Default("[\"interfaces:53\"]"),
        "Where to listen, UDP and TCP: \"interfaces:PORT\" is every address of the host one by \
         one and follows changes; otherwise \"ADDR:PORT\" or \"[V6]:PORT\"."),
    key("server.allow", Kind::Allow,
        Default("[\"127.0.0.0/8\", \"::1\", \"10.0.0.0/8\", \"172.16.0.0/12\", \
                 \"192.168.0.0/16\", \"169.254.0.0/16\", \"fc00::/7\", \"fe80::/10\", \
                 \"onlink\"]"),
        "Whom to answer: networks, addresses, \"onlink\" (the IPv6 prefixes of our own \
         interfaces), or \"any\" together with `allow_any`."),
    key("server.allow_any", Kind::Bool, Default("false"),
        "Must be true for \"any\" or a network of length 0 in `allow`. An open resolver is \
         abused within hours."),
    key("server.outside", Kind::Choice(Outside::WORDS), Default("\"refused\""),
        "What clients outside `allow` get."),
    key("server.workers", Kind::Integer { min: 0, max: 256 }, Default("0"),
        "Serving threads; 0 is one per core."),
    key("server.state", Kind::Path, Default("\"/var/lib/culvert\""),
        "Folder for what outlives a restart."),
    key("server.control", Kind::Path, Default("\"/run/culvert/control.sock\""),
        "Socket over which the `culvert` command talks to the daemon; at most 107 octets."),
    key("server.control_group", Kind::Group, Default("\"culvert\""),
        "The control socket's group: its members may command the relay. \"\" is none but the \
         daemon's own. A host without the group \"culvert\" does without."),
    key("server.udp_payload", Kind::Integer { min: 512, max: 4096 }, Default("1232"),
        "Largest UDP answer in octets, and the size that our OPT record announces."),
    key("server.tcp_connections", Kind::Integer { min: 1, max: 1_000_000 }, Default("2000"),
        "Most TCP connections of all clients together."),
    key("server.tcp_per_client", Kind::Integer { min: 1, max: 1_000_000 }, Default("50"),
        "Most TCP connections of one client: an IPv4 address, or an IPv6 network of 64 bits."),
    key("server.tcp_idle", Kind::Duration { min: seconds(1), max: seconds(3600) },
        Default("\"10s\""),
        "A TCP connection without a query for this long is closed."),
    key("server.tcp_receive", Kind::Duration { min: Duration::from_millis(100), max: seconds(60) },
        Default("\"5s\""),
        "A query that has begun on TCP must be whole within this time."),
    key("server.tcp_queries", Kind::Integer { min: 1, max: 1_000_000_000 }, Default("10000"),
        "Most queries on one TCP connection; then it is closed."),

    key("upstream[].name", Kind::Label,
        Means("\"upstream-1\", \"upstream-2\" and so on", "\"service\""),
        "Unique name, for routes, logs and metrics."),
    key("upstream[].url", Kind::Url,
        Means("plain DNS, see `servers`", "\"https://doh.example/dns-query\""),
        "DNS over HTTPS: the host is the TLS name and is never looked up; the path is kept \
         secret. A template's \"{?dns}\" at the end may stay."),
    key("upstream[].addresses", Kind::Addresses { min: 1 },
        Means("needed with `url`", "[\"192.0.2.1\", \"192.0.2.2\"]"),
        "Addresses of the service, IP or IP:PORT; the URL's port if none is given."),
    key("upstream[].paths", Kind::UrlPaths,
        Means("the URL's path", "[\"/new\", \"/old\"]"),
        "For the rotation of a path: tried in order, the URL's own path after them. Kept secret."),
    key("upstream[].ca", Kind::Path,
        Means("the system's trust store", "\"/etc/culvert/ca.pem\""),
        "PEM file of the roots that the service's certificate must come from."),
    key("upstream[].standby", Kind::Addresses { min: 0 }, Default("[]"),
        "More addresses of the service, used when none of `addresses` is up."),
    key("upstream[].servers", Kind::Addresses { min: 1 },
        Means("DNS over HTTPS, see `url`", "[\"10.0.0.53\", \"10.0.1.53\"]"),
        "Plain DNS: the servers, IP or IP:PORT; port 53 if none is given."),
    key("upstream[].max_in_flight", Kind::Integer { min: 1, max: 65_536 }, Default("10000"),
        "Most queries that wait for this upstream at one time."),

    key("route[].zones", Kind::Names { min: 1 }, Fault("[\"corp.example\", \"10.in-addr.arpa\"]"),
        "Names at or below these go to `upstream`."),
    key("route[].upstream", Kind::Label, Fault("\"corp\""),
        "Name of the upstream."),
    key("route[].filter", Kind::Bool, Default("false"),
        "Transferred and downloaded policy zones act on these names too. Zones from local files \
         always do."),

    key("local.special", Kind::Bool, Default("true"),
        "Special-use names (RFC 6761, 6303, 7793, 8375) are answered here unless a route other \
         than \".\" names them."),
    key("local.canary_domain", Kind::Bool, Default("true"),
        "use-application-dns.net is NXDOMAIN, so that browsers keep to this resolver."),

    key("policy[].zone", Kind::Name, Fault("\"block.local\""),
        "Name of the policy zone; unique."),
    key("policy[].file", Kind::Path,
        Means("the zone comes from elsewhere, see `primaries` and `url`", "\"rpz/block.rpz\""),
        "The file with its rules, written as `format` says."),
    key("policy[].format", Kind::Choice(ZoneFormat::WORDS), Default("\"rpz\""),
        "\"rpz\" is a master file with rules (RPZ); \"domains\" a list of names to block, one a \
         line; \"hosts\" a file in the form of /etc/hosts whose names are blocked."),
    key("policy[].subdomains", Kind::Bool, Default("true"),
        "The names of a list stand for all names below them too. Goes with the formats \
         \"domains\" and \"hosts\" only."),
    key("policy[].primaries", Kind::Primaries,
        Means("a file or a list, see `file` and `url`",
              "[\"192.0.2.53\", \"198.51.100.53:5353\", \"tls://192.0.2.54#dns.vendor.example\"]"),
        "Servers to transfer the zone from (AXFR, IXFR), tried in this order: IP or IP:PORT, or \
         over TLS (RFC 9103) \"tls://IP#NAME\" or \"tls://IP:PORT#NAME\" with the name on the \
         server's certificate. Ports 53 and 853 if none is given. At most 16."),
    key("policy[].tsig", Kind::Name, Means("transfers are not signed", "\"vendor-key\""),
        "Name of the [[tsig]] key that signs transfers and NOTIFY. Goes with `primaries`."),
    key("policy[].notify_from", Kind::Networks { min: 0 }, Default("[]"),
        "Who may send NOTIFY besides the primaries: networks and addresses. Goes with \
         `primaries`."),
    key("policy[].url", Kind::ListUrl,
        Means("a file or a transfer, see `file` and `primaries`",
              "\"https://lists.example/block.txt\""),
        "List to download, written as `format` says. Its path is kept secret."),
    key("policy[].addresses", Kind::Addresses { min: 1 },
        Means("the URL's host is looked up through the first [[upstream]]", "[\"192.0.2.80\"]"),
        "Addresses of the URL's host, IP or IP:PORT; the URL's port if none is given."),
    key("policy[].ca", Kind::Path,
        Means("the system's trust store", "\"/etc/culvert/ca.pem\""),
        "PEM file of the roots that the certificate must come from: of the URL's host, or of the \
         primaries over TLS."),
    key("policy[].sha256", Kind::Checksum,
        Means("the list is not compared with a checksum",
              "\"https://lists.example/block.txt.sha256\""),
        "SHA-256 checksum of the list as it is downloaded, or the URL where it is published: the \
         first 64 hexadecimal digits there. Goes with `url`."),
    key("policy[].refresh", Kind::Duration { min: seconds(60), max: WEEK }, Default("\"6h\""),
        "Time between downloads, give or take some of it. Goes with `url`; how often a primary is \
         asked says the zone's SOA."),
    key("policy[].mode", Kind::Choice(Mode::WORDS), Default("\"enforce\""),
        "\"monitor\" logs what would happen and does nothing; \"off\" does not look at the zone."),
    key("policy[].action", Kind::Action, Default("\"given\""),
        "Replaces the action of every rule of the zone, passthru rules included; \"given\" \
         leaves them as they are."),
    key("policy[].recursive_only", Kind::Bool, Default("false"),
        "Queries with RD=0 are not judged by this zone."),
    key("policy[].add_soa", Kind::Bool, Default("true"),
        "The policy zone's SOA goes into the additional section of rewritten answers."),
    key("policy[].max_ttl", Kind::Ttl { min: seconds(0), max: WEEK },
        Means("`response_policy.max_ttl`", "\"5s\""),
        "Cap on the TTL of rewritten answers."),
    key("policy[].ede", Kind::Choice(Ede::WORDS), Default("\"blocked\""),
        "Extended DNS error of rewritten answers (RFC 8914)."),
    key("policy[].log", Kind::Bool, Default("true"),
        "Matches of this zone are written to the hit log."),
    key("policy[].until_loaded", Kind::UntilLoaded, Default("\"open-after-30s\""),
        "Cold start without a copy of a zone from elsewhere: SERVFAIL for this long, then open \
         with an alarm; \"servfail\" never opens. Files are loaded before the first answer."),
    key("policy[].expired", Kind::Choice(Expired::WORDS), Default("\"keep\""),
        "Past the expire time of the zone's SOA without contact: \"keep\" goes on with the rules, \
         with an alarm; \"withdraw\" lets none of them act (as BIND does). Goes with `primaries`."),
    key("policy[].max_loss", Kind::Integer { min: 0, max: 100 }, Default("50"),
        "A new version that loses more than this share of more than 10,000 rules, in percent, \
         waits for `culvert zone accept`; 100 switches that off. Goes with `primaries` and `url`."),
    key("policy[].hold_max", Kind::Duration { min: seconds(1), max: seconds(365 * 86_400) },
        Means("it waits for as long as it takes", "\"2d\""),
        "A version held for its loss takes effect by itself after this long. Goes with \
         `primaries` and `url`."),
    key("policy[].alarm_after", Kind::Integer { min: 0, max: 1000 }, Default("3"),
        "Alarm after so many times its refresh time without contact; 0 is never. Goes with \
         `primaries` and `url`."),
    key("policy[].max_bytes", Kind::Size { min: 64 << 10, max: 1 << 40 }, Default("\"1 GiB\""),
        "A transfer or download with more octets is broken off. Goes with `primaries` and `url`."),
    key("policy[].max_rules", Kind::Integer { min: 1, max: 100_000_000 }, Default("10_000_000"),
        "A version of the zone with more rules is not taken."),

    key("response_policy.mode", Kind::Choice(Enforcement::WORDS), Default("\"enforce\""),
        "With \"monitor\" nothing is blocked by any zone, and everything is logged."),
    key("response_policy.break_dnssec", Kind::Bool, Default("true"),
        "DO=1 is no way round the policy."),
    key("response_policy.wait", Kind::Bool, Default("false"),
        "Always resolve before a QNAME rule answers (BIND's qname-wait-recurse)."),
    key("response_policy.max_ttl", Kind::Ttl { min: seconds(0), max: WEEK }, Default("\"5s\""),
        "Cap on the TTL of rewritten answers."),
    key("response_policy.negative_soa", Kind::Bool, Default("true"),
        "A synthesized SOA in the authority section, so that clients cache a block."),
    key("response_policy.min_ns_dots", Kind::Integer { min: 0, max: 126 }, Default("1"),
        "NSDNAME and NSIP look at the query's name and those above it down to this many dots \
         (BIND's min-ns-dots)."),
    key("response_policy.nsip", Kind::Bool, Default("true"),
        "NSIP triggers are judged."),
    key("response_policy.nsdname", Kind::Bool, Default("true"),
        "NSDNAME triggers are judged."),
    key("response_policy.svcb_hints", Kind::Bool, Default("true"),
        "IP rules look at the address hints inside HTTPS and SVCB answers too (RFC 9460)."),
    key("response_policy.ede_zone", Kind::Bool, Default("false"),
        "The extended error's text names the policy zone."),
    key("response_policy.guard", Kind::Names { min: 0 }, Default("[]"),
        "Names that no transferred or downloaded zone may begin to cover without `culvert zone \
         accept`."),

    key("tsig[].name", Kind::Name, Fault("\"vendor-key\""),
        "Name of the key, as the primary has it; unique."),
    key("tsig[].algorithm", Kind::Choice(ALGORITHMS), Default("\"hmac-sha256\""),
        "What it signs with. \"hmac-sha1\" and \"hmac-md5\" go with `weak` only."),
    key("tsig[].weak", Kind::Bool, Default("false"),
        "Must be true for \"hmac-sha1\" and \"hmac-md5\", which should not be used any more \
         (RFC 8945): for primaries that know nothing else."),
    key("tsig[].secret_file", Kind::Path,
        Means("the secret is in `secret`", "\"/etc/culvert/keys/vendor-key\""),
        "File that holds the secret: its base64 alone, or a key file of BIND (`key \"NAME\" \
         { algorithm ...; secret ...; };`) with the same name and algorithm."),
    key("tsig[].secret", Kind::Base64,
        Means("the secret is in `secret_file`", "\"bm90IGEgc2VjcmV0LCBidXQgYW4gZXhhbXBsZSEhISE=\""),
        "The secret in base64. A file can be read-protected better."),

    key("group[].name", Kind::Label, Fault("\"guests\""),
        "Unique name, for logs and metrics."),
    key("group[].clients", Kind::Networks { min: 1 }, Fault("[\"192.168.50.0/24\", \"10.0.0.7\"]"),
        "Its clients: networks and addresses. A network is in one group only."),
    key("group[].policies", Kind::Names { min: 0 },
        Means("all policy zones in their order", "[\"block.local\"]"),
        "The whole list of policy zones for these clients, in this order; with `[]` nothing is \
         filtered. A zone that is not in the list does not act on these clients, an allow list \
         of your own included."),
    key("group[].upstream", Kind::Label,
        Means("the first [[upstream]]", "\"service\""),
        "Name of the default upstream of these clients. Names with a route go where the route \
         says."),

    key("cache.enabled", Kind::Bool, Default("true"),
        "Answers are kept at all."),
    key("cache.size", Kind::Size { min: 1 << 20, max: 1 << 40 }, Default("\"64 MiB\""),
        "Memory for answers."),
    key("cache.min_ttl", Kind::Ttl { min: seconds(0), max: seconds(3600) }, Default("\"0s\""),
        "Answers are kept for at least this long; not more than `max_ttl`."),
    key("cache.max_ttl", Kind::Ttl { min: seconds(1), max: WEEK }, Default("\"1d\""),
        "Answers are kept for at most this long."),
    key("cache.max_negative_ttl", Kind::Ttl { min: seconds(0), max: DAY }, Default("\"1h\""),
        "Negative answers are kept for at most this long (RFC 2308)."),
    key("cache.stale", Kind::Ttl { min: seconds(0), max: WEEK }, Default("\"1d\""),
        "How long past its TTL an answer may serve while the upstream fails (RFC 8767); \"0s\" \
         is never."),

    key("canary.resolves", Kind::Names { min: 0 }, Default("[]"),
        "Names that must resolve."),
    key("canary.blocked", Kind::Names { min: 0 }, Default("[]"),
        "Names that must be blocked."),

    key("log.hits", Kind::Hits, Default("\"journal\""),
        "Where policy hits go."),
    key("log.format", Kind::Choice(LogFormat::WORDS), Default("\"json\""),
        "Form of a line."),
    key("log.queries", Kind::Bool, Default("false"),
        "Every query is logged too. Can be switched while running; start and stop are logged."),

    key("status.listen", Kind::Status, Default("\"127.0.0.1:8053\""),
        "Where metrics and health are served over HTTP. On an address that other hosts reach, \
         `status.allow` says which of them may ask."),
    key("status.allow", Kind::Networks { min: 0 }, Default("[]"),
        "Who may ask there besides this host itself: networks and addresses, of the other relay \
         of a pair and of the monitoring. What is shown names zones, servers and exceptions."),
];
