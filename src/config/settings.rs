//! The configuration as plain values: what the rooms are built from.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::address::{Allow, Listen};
use super::fault::Fault;
use super::loops::Place;
use super::url::Secret;
use crate::dns::name::Name;
use crate::dns::tsig::Key;

/// Zone name under which Culvert's own exceptions act, in every group and before all other zones;
/// no `[[policy]]` and no route has it.
pub const EXCEPTIONS_ZONE: &str = "exceptions.culvert";

/// Declares an enum whose variants have a word each in the configuration file.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$each])* $variant,)+ }

        impl $name {
            /// All variants, in the order of `WORDS`.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];
            /// The words of the configuration file, in the order of `ALL`.
            pub const WORDS: &'static [&'static str] = &[$($word,)+];

            /// The word of the configuration file.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }
    };
}

/// Everything the configuration says, defaults filled in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The main file, as it was named.
    pub file: PathBuf,
    /// All files that were read, in order; the main file is the first.
    pub files: Vec<PathBuf>,
    /// What faces the clients, and the process itself.
    pub server: Server,
    /// Where queries go; the first one is the default. Never empty, names are unique.
    pub upstreams: Vec<Upstream>,
    /// Names that go elsewhere than to the default upstream; no zone occurs twice.
    pub routes: Vec<Route>,
    /// What is answered here without asking anybody.
    pub local: Local,
    /// Policy zones in their order; zone names are unique.
    pub policies: Vec<Policy>,
    /// Keys of zone transfers; names are unique. At most [`crate::limits::TSIG_KEYS`].
    pub tsig: Vec<Arc<Key>>,
    /// What holds for all policy zones.
    pub response_policy: ResponsePolicy,
    /// Clients with policy zones or an upstream of their own; names are unique, and no network
    /// is in two groups. At most [`crate::limits::GROUPS`].
    pub groups: Vec<Group>,
    /// The answer cache.
    pub cache: Cache,
    /// Names that show whether the service and its policy work.
    pub canary: Canary,
    /// Hit log and query log.
    pub log: Log,
    /// The status listener.
    pub status: Status,
    /// What was accepted but is probably not meant, in the order of the file.
    pub warnings: Vec<Fault>,
    /// Upstream addresses and where they stand in the file, for `own_address_faults`.
    pub(super) places: Vec<Place>,
}

/// Section `[server]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Name of this relay in log and metrics; `None`: the host's name.
    pub name: Option<String>,
    /// Where to listen, UDP and TCP; never empty, no entry twice.
    pub listen: Vec<Listen>,
    /// Whom to answer.
    pub allow: Vec<Allow>,
    /// What everybody else gets.
    pub outside: Outside,
    /// Serving threads; 0: one per core.
    pub workers: usize,
    /// Folder for what outlives a restart.
    pub state: PathBuf,
    /// Path of the control socket; short enough for a socket address.
    pub control: PathBuf,
    /// Group of the control socket; `None`: the daemon's own.
    pub control_group: Option<String>,
    /// Largest UDP answer in octets, and the size our OPT records announce.
    pub udp_payload: u16,
    /// Most TCP connections of all clients together.
    pub tcp_connections: usize,
    /// Most TCP connections of one client address.
    pub tcp_per_client: usize,
    /// A TCP connection without a query for this long is closed.
    pub tcp_idle: Duration,
    /// A query that has begun on TCP must be whole within this time.
    pub tcp_receive: Duration,
    /// Most queries on one TCP connection.
    pub tcp_queries: u64,
}

words! {
    /// What a client outside the access list gets.
    Outside {
        /// REFUSED with EDE 18.
        Refused = "refused",
        /// No answer.
        Drop = "drop",
    }
}

/// One `[[upstream]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Unique name.
    pub name: String,
    /// How it is spoken to.
    pub kind: UpstreamKind,
    /// Most queries that wait for this upstream at one time.
    pub max_in_flight: usize,
}

/// How an upstream is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamKind {
    /// DNS over HTTPS (RFC 8484).
    Doh(Doh),
    /// Plain DNS over UDP and TCP.
    Plain {
        /// The servers; never empty, none twice.
        servers: Vec<SocketAddr>,
    },
}

/// A DNS-over-HTTPS service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doh {
    /// TLS name and `:authority`: a host name in lower case, or an IP address without brackets.
    pub host: String,
    /// Port of the URL, for `:authority`; the addresses carry their own.
    pub port: u16,
    /// Paths with their query parts, tried in order; never empty, none twice.
    pub paths: Vec<Secret>,
    /// The backends; never empty, none twice.
    pub addresses: Vec<SocketAddr>,
    /// Backends for the time when none of `addresses` is up.
    pub standby: Vec<SocketAddr>,
    /// PEM file of the trusted roots; `None`: the system's.
    pub ca: Option<PathBuf>,
}

/// One `[[route]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Names at or below these go to the upstream; the longest suffix wins.
    pub zones: Vec<Name>,
    /// Index into [`Settings::upstreams`].
    pub upstream: usize,
    /// Transferred and downloaded policy zones act on these names too.
    pub filter: bool,
}

/// Section `[local]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Special-use names are answered here (RFC 6761, 6303, 7793, 8375).
    pub special: bool,
    /// `use-application-dns.net` is NXDOMAIN.
    pub canary_domain: bool,
    /// Host names and their addresses; no name twice.
    pub hosts: Vec<(Name, Vec<IpAddr>)>,
}

/// One `[[policy]]`: a response policy zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Name of the zone.
    pub zone: Name,
    /// Where its rules are.
    pub source: PolicySource,
    /// How a file or a list is written; without meaning for [`PolicySource::Primaries`].
    pub format: ZoneFormat,
    /// The names of a list stand for all names below them too; without meaning for
    /// [`ZoneFormat::Rpz`].
    pub subdomains: bool,
    /// Whether matches act.
    pub mode: Mode,
    /// What every match does.
    pub action: Action,
    /// Queries with RD=0 are not judged by this zone.
    pub recursive_only: bool,
    /// The zone's SOA goes into the additional section of rewritten answers.
    pub add_soa: bool,
    /// Cap on the TTL of rewritten answers; `None`: [`ResponsePolicy::max_ttl`].
    pub max_ttl: Option<Duration>,
    /// Extended DNS error of rewritten answers.
    pub ede: Ede,
    /// Matches are written to the hit log.
    pub log: bool,
    /// What happens while no copy of a zone from elsewhere is there; without meaning for files.
    pub until_loaded: UntilLoaded,
    /// How its supply is watched over; without meaning for files.
    pub care: Care,
    /// A version of the zone with more rules is not taken.
    pub max_rules: u64,
}

/// Where the rules of a policy zone are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicySource {
    /// A file of this host.
    File(PathBuf),
    /// Servers that it is transferred from.
    Primaries(Transfer),
    /// A list on the web.
    Url(Download),
}

impl PolicySource {
    /// True if the rules come from another host.
    pub fn is_remote(&self) -> bool {
        !matches!(self, PolicySource::File(_))
    }
}

/// A zone that is transferred (RFC 5936, RFC 1995).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The servers in the order they are tried; never empty, none twice.
    pub primaries: Vec<Primary>,
    /// The key that both sides sign with.
    pub tsig: Option<Arc<Key>>,
    /// Who may send NOTIFY besides the primaries.
    pub notify_from: Vec<IpNet>,
    /// PEM file of the roots for primaries over TLS; `None`: the system's.
    pub ca: Option<PathBuf>,
}

/// A server that a zone is transferred from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Primary {
    /// Its address and port.
    pub address: SocketAddr,
    /// Over TLS: the name on its certificate, a host name in lower case or an IP address.
    pub tls_name: Option<String>,
}

/// A list that is downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// The whole URL, https only.
    pub url: Secret,
    /// Addresses of its host; empty: they are looked up. None twice.
    pub addresses: Vec<SocketAddr>,
    /// PEM file of the roots; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// What the list's octets must hash to.
    pub sha256: Option<Checksum>,
    /// Time between looks, before jitter.
    pub refresh: Duration,
}

/// A SHA-256 checksum, or where it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The checksum itself.
    Fixed([u8; 32]),
    /// An https URL.
    At(Secret),
}

/// How the supply of a zone from elsewhere is watched over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Care {
    /// What happens past the expire time of its SOA.
    pub expired: Expired,
    /// A version that loses more than this share of the rules, in percent, is held; 100: none.
    pub max_loss: u8,
    /// A version held for its loss takes effect after this long; `None`: never by itself.
    pub hold_max: Option<Duration>,
    /// Without contact for this many times its refresh time, it raises an alarm; 0: never.
    pub alarm_after: u32,
    /// Most octets of one transfer or download.
    pub max_bytes: u64,
}

words! {
    /// What happens past the expire time of a zone's SOA.
    Expired {
        /// The rules go on, with an alarm.
        Keep = "keep",
        /// The rules do not act.
        Withdraw = "withdraw",
    }
}

words! {
    /// How the file of a policy zone is written.
    ZoneFormat {
        /// A master file (RFC 1035 section 5) with rules.
        Rpz = "rpz",
        /// Names to block, one a line.
        Domains = "domains",
        /// The form of `/etc/hosts`; its names are blocked.
        Hosts = "hosts",
    }
}

words! {
    /// Whether a zone's matches act.
    Mode {
        /// They act.
        Enforce = "enforce",
        /// They are logged only.
        Monitor = "monitor",
        /// The zone is not looked at.
        Off = "off",
    }
}

/// What the matches of a zone do.
#[allow(clippy::large_enum_variant)] // one for each zone, and `Copy` is worth the octets
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// What each rule says.
    Given,
    /// Let the answer through.
    Passthru,
    /// No answer.
    Drop,
    /// A truncated answer over UDP.
    TcpOnly,
    /// NXDOMAIN.
    Nxdomain,
    /// NODATA.
    Nodata,
    /// A CNAME to this name.
    Cname(Name),
}

words! {
    /// Extended DNS error of rewritten answers (RFC 8914).
    Ede {
        /// No EDE option.
        None = "none",
        /// Code 4.
        Forged = "forged",
        /// Code 15.
        Blocked = "blocked",
        /// Code 16.
        Censored = "censored",
        /// Code 17.
        Filtered = "filtered",
        /// Code 18.
        Prohibited = "prohibited",
    }
}

/// What happens to queries after a cold start without a copy of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UntilLoaded {
    /// SERVFAIL with EDE 14 until the zone is there.
    Servfail,
    /// SERVFAIL for this long, then answers without the zone, with an alarm.
    OpenAfter(Duration),
}

/// Section `[response_policy]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponsePolicy {
    /// Whether any zone may act.
    pub mode: Enforcement,
    /// DO=1 does not exempt a query.
    pub break_dnssec: bool,
    /// Resolve first, even where a QNAME rule could answer at once.
    pub wait: bool,
    /// Cap on the TTL of rewritten answers.
    pub max_ttl: Duration,
    /// Negative answers get a synthesized SOA in the authority section.
    pub negative_soa: bool,
    /// NSDNAME and NSIP look at names with at least this many dots: the query's and those above.
    pub min_ns_dots: usize,
    /// NSIP triggers are judged.
    pub nsip: bool,
    /// NSDNAME triggers are judged.
    pub nsdname: bool,
    /// IP triggers are held against the address hints of HTTPS and SVCB answers too (RFC 9460
    /// section 7.3).
    pub svcb_hints: bool,
    /// The text of the extended error (RFC 8914) names the policy zone.
    pub ede_zone: bool,
    /// Names that no zone from elsewhere may begin to cover without the operator's consent.
    pub guard: Vec<Name>,
}

words! {
    /// Whether policy as a whole acts.
    Enforcement {
        /// Each zone as its own mode says.
        Enforce = "enforce",
        /// Nothing is changed, everything is logged.
        Monitor = "monitor",
    }
}

/// One `[[group]]`: clients with policy zones or an upstream of their own.
///
/// A client is in the group that has the longest prefix around it; one that is in none has all
/// of [`Settings::policies`] in their order, and the first upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Unique name.
    pub name: String,
    /// Its networks; never empty, host bits are zero, none an IPv4 network in IPv6 form.
    pub clients: Vec<IpNet>,
    /// Indexes into [`Settings::policies`] in the group's order, none twice, maybe none at all;
    /// `None`: all zones in their order.
    pub policies: Option<Vec<usize>>,
    /// Index into [`Settings::upstreams`] of the default upstream of these clients; routes go
    /// before it. `None`: the first one.
    pub upstream: Option<usize>,
}

/// Section `[cache]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Answers are kept at all.
    pub enabled: bool,
    /// Memory for answers, in octets.
    pub size: u64,
    /// Answers are kept for at least this long; not more than `max_ttl`.
    pub min_ttl: Duration,
    /// Answers are kept for at most this long.
    pub max_ttl: Duration,
    /// Negative answers are kept for at most this long.
    pub max_negative_ttl: Duration,
    /// How long past its TTL an answer may serve while the upstream fails; zero: never.
    pub stale: Duration,
}

/// Section `[canary]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// Names that must resolve.
    pub resolves: Vec<Name>,
    /// Names that must be blocked.
    pub blocked: Vec<Name>,
}

/// Section `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Where policy hits go.
    pub hits: Hits,
    /// Form of a line.
    pub format: LogFormat,
    /// Every query is logged too.
    pub queries: bool,
}

/// Where policy hits go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hits {
    /// The systemd journal.
    Journal,
    /// Standard error.
    Stderr,
    /// A file.
    File(PathBuf),
}

words! {
    /// Form of the lines of hit log and query log.
    LogFormat {
        /// One JSON object a line.
        Json = "json",
        /// As BIND's `rpz` category.
        Bind = "bind",
        /// BIND's older line, without type and class.
        BindLegacy = "bind-legacy",
    }
}

/// Section `[status]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where metrics and health are served over HTTP; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Who may ask there besides this host itself.
    pub allow: Vec<IpNet>,
}
