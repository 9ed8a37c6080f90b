//! From the configuration's words to each room's own settings.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ipnet::IpNet;

use super::unique;
use crate::acl::Acl;
use crate::cache;
use crate::config as written;
use crate::config::{Fault, Faults, Settings};
use crate::dns::ede::code;
use crate::dns::rtype;
use crate::listener::{self, PortStatus};
use crate::pipeline::local::LocalNames;
use crate::pipeline::{Keeper, Outside, Routes, Snapshot, local};
use crate::policy::action::{Action, LocalData, LocalRecord};
use crate::policy::set::{Mode, Override, PolicySet, ZoneSettings};
use crate::policy::trigger::TriggerKind;
use crate::policy::view::Group;
use crate::report::{Destination, Format, Writer};
use crate::rpz::{Form, ZoneError};
use crate::sys::{self, socket};
use crate::upstream::{DohSettings, Kind, Path, Settings as UpstreamSettings, Upstream};
use crate::zones::notify::Desk;
use crate::zones::{Care, Checksum, Download, Origin, Primary, Source, Terms, Transfer};

/// Why the relay does not start, or a reload changes nothing.
#[derive(Debug)]
pub enum Trouble {
    /// The configuration has faults.
    Config(Faults),
    /// An upstream is one of our own listeners.
    Loops(Vec<Fault>),
    /// Policy zones that cannot be loaded.
    Zones(Vec<ZoneError>),
    /// An upstream cannot be set up.
    Upstream(String),
    /// The system refused something.
    System(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = |f: &mut fmt::Formatter<'_>, lines: Vec<String>| f.write_str(&lines.join("\n"));
        match self {
            Trouble::Config(faults) => fmt::Display::fmt(faults, f),
            Trouble::Loops(faults) => lines(f, faults.iter().map(Fault::to_string).collect()),
            Trouble::Zones(faults) => lines(f, faults.iter().map(ZoneError::to_string).collect()),
            Trouble::Upstream(text) | Trouble::System(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Trouble {}

/// Number of workers: as configured, else one a core.
pub(super) fn workers(settings: &Settings) -> usize {
    match settings.server.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    }
}

/// Name of this relay in records and metrics.
pub(super) fn server_name(settings: &Settings) -> String {
    let host = || sys::host_name().unwrap_or_else(|| "culvert".to_owned());
    settings.server.name.clone().unwrap_or_else(host)
}

/// Addresses to listen on now. An error says nothing about the addresses: what is open stays.
pub(super) fn addresses(settings: &Settings) -> std::io::Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for listen in &settings.server.listen {
        match listen {
            written::Listen::Address(address) => addresses.push(*address),
            written::Listen::Interfaces(port) => {
                addresses.extend(socket::host_addresses()?.into_iter().map(|mut address| {
                    address.set_port(*port);
                    address
                }));
            }
        }
    }
    Ok(unique(addresses))
}

/// An address that was asked for by itself must be there at the start; of the interfaces' ones,
/// any will do.
pub(super) fn refuse_unbound(settings: &Settings, ports: &[PortStatus]) -> Result<(), Trouble> {
    let failed = |port: &&PortStatus| port.udp != "listening";
    for listen in &settings.server.listen {
        if let written::Listen::Address(address) = listen
            && let Some(port) = ports.iter().filter(failed).find(|port| port.address == *address)
        {
            return Err(Trouble::System(format!("cannot listen on {address}: {}", port.udp)));
        }
    }
    if ports.iter().all(|port| failed(&port)) {
        let reason = ports.first().map_or("this host has no address", |port| &port.udp);
        return Err(Trouble::System(format!("cannot listen on any address: {reason}")));
    }
    Ok(())
}

/// The access list, with the on-link prefixes of this moment. An error says nothing about them.
pub(super) fn acl(settings: &Settings) -> std::io::Result<Acl> {
    let mut networks = Vec::new();
    for allow in &settings.server.allow {
        match allow {
            written::Allow::Prefix(network) => networks.push(*network),
            written::Allow::Any => {
                networks.extend([IpNet::V4(Default::default()), IpNet::V6(Default::default())]);
            }
            written::Allow::OnLink => {
                let on_link = socket::host_prefixes()?;
                let v6 = on_link.iter().filter(|(ip, _)| ip.is_ipv6());
                networks.extend(v6.filter_map(|(ip, len)| IpNet::new(*ip, *len).ok()));
            }
        }
    }
    Ok(Acl::new(networks.iter().map(IpNet::trunc)))
}

/// Limits of TCP clients.
pub(super) fn tcp(settings: &Settings) -> listener::Settings {
    let server = &settings.server;
    listener::Settings {
        tcp_connections: server.tcp_connections,
        tcp_per_client: server.tcp_per_client,
        tcp_idle: server.tcp_idle,
        tcp_receive: server.tcp_receive,
        tcp_queries: server.tcp_queries,
    }
}

/// The cache's settings; switched off is a size of zero.
pub(super) fn cache(settings: &Settings) -> cache::Settings {
    let cache = &settings.cache;
    cache::Settings {
        size: if cache.enabled { cache.size } else { 0 },
        min_ttl: seconds(cache.min_ttl),
        max_ttl: seconds(cache.max_ttl),
        max_negative_ttl: seconds(cache.max_negative_ttl),
        stale: cache.stale,
    }
}

fn seconds(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// True if no zone may act.
pub(super) fn monitor_only(settings: &Settings) -> bool {
    settings.response_policy.mode == written::Enforcement::Monitor
}

/// Under which terms the zones hold, exceptions and suspension left aside.
pub(super) fn terms(settings: &Settings) -> Terms {
    let judged = &settings.response_policy;
    let switches = [(TriggerKind::Nsdname, judged.nsdname), (TriggerKind::Nsip, judged.nsip)];
    let off = switches.into_iter().filter(|(_, on)| !on);
    let group = |group: &written::Group| Group {
        name: group.name.clone(),
        clients: group.clients.clone(),
        zones: group.policies.clone(),
    };
    Terms {
        groups: settings.groups.iter().map(group).collect(),
        exceptions: Arc::default(),
        monitor: monitor_only(settings),
        ignored: off.map(|(kind, _)| kind).collect(),
        promoted: Arc::default(),
    }
}

/// The policy zones and where they come from.
pub(super) fn sources(settings: &Settings) -> Vec<Source> {
    let source = |policy: &written::Policy| Source {
        settings: ZoneSettings {
            name: policy.zone,
            mode: match policy.mode {
                written::Mode::Enforce => Mode::Enforce,
                written::Mode::Monitor => Mode::Monitor,
                written::Mode::Off => Mode::Off,
            },
            action: over_all(policy.action),
            recursive_only: policy.recursive_only,
            add_soa: policy.add_soa,
            max_ttl: seconds(policy.max_ttl.unwrap_or(settings.response_policy.max_ttl)),
            ede: match policy.ede {
                written::Ede::None => None,
                written::Ede::Forged => Some(code::FORGED),
                written::Ede::Blocked => Some(code::BLOCKED),
                written::Ede::Censored => Some(code::CENSORED),
                written::Ede::Filtered => Some(code::FILTERED),
                written::Ede::Prohibited => Some(code::PROHIBITED),
            },
            ede_text: if settings.response_policy.ede_zone {
                format!("blocked by policy zone {}", policy.zone).into()
            } else {
                "blocked by policy".into()
            },
            remote: policy.source.is_remote(),
            log: policy.log,
        },
        origin: origin(&policy.source),
        form: match policy.format {
            written::ZoneFormat::Rpz => Form::Zone,
            written::ZoneFormat::Domains => Form::Domains { subdomains: policy.subdomains },
            written::ZoneFormat::Hosts => Form::Hosts { subdomains: policy.subdomains },
        },
        max_rules: usize::try_from(policy.max_rules).unwrap_or(usize::MAX),
        care: care(policy),
    };
    settings.policies.iter().map(source).collect()
}

fn origin(source: &written::PolicySource) -> Origin {
    match source {
        written::PolicySource::File(path) => Origin::File(path.clone()),
        written::PolicySource::Primaries(transfer) => Origin::Transfer(Transfer {
            primaries: transfer
                .primaries
                .iter()
                .map(|p| Primary { address: p.address, tls_name: p.tls_name.clone() })
                .collect(),
            key: transfer.tsig.clone(),
            notify_from: transfer.notify_from.clone(),
            ca: transfer.ca.clone(),
        }),
        written::PolicySource::Url(download) => Origin::Download(Download {
            url: download.url.expose().to_owned(),
            addresses: download.addresses.clone(),
            ca: download.ca.clone(),
            sha256: download.sha256.as_ref().map(|checksum| match checksum {
                written::Checksum::Fixed(octets) => Checksum::Fixed(*octets),
                written::Checksum::At(url) => Checksum::At(url.expose().to_owned()),
            }),
            every: download.refresh,
        }),
    }
}

fn care(policy: &written::Policy) -> Care {
    let care = &policy.care;
    Care {
        open_after: match policy.until_loaded {
            written::UntilLoaded::Servfail => None,
            written::UntilLoaded::OpenAfter(length) => Some(length),
        },
        withdraw: care.expired == written::Expired::Withdraw,
        max_loss: care.max_loss,
        hold_max: care.hold_max,
        alarm_after: care.alarm_after,
        max_bytes: care.max_bytes,
    }
}

fn over_all(action: written::Action) -> Override {
    Override::Action(match action {
        written::Action::Given => return Override::Given,
        written::Action::Passthru => Action::Passthru,
        written::Action::Drop => Action::Drop,
        written::Action::TcpOnly => Action::TcpOnly,
        written::Action::Nxdomain => Action::Nxdomain,
        written::Action::Nodata => Action::Nodata,
        written::Action::Cname(target) => {
            let rdata = target.as_wire().into();
            // the zone's cap bounds the TTL
            let record = LocalRecord { rtype: rtype::CNAME, ttl: u32::MAX >> 1, rdata };
            return Override::Cname(LocalData::new(vec![record]));
        }
    })
}

/// An id is never given twice: what the cache keeps of a service that is gone stays unused.
static NEXT_ID: AtomicUsize = AtomicUsize::new(0);

/// All upstreams, those that did not change with all their state.
pub(super) fn upstreams(
    settings: &Settings,
    previous: &[Arc<Upstream>],
    sink: &Arc<Keeper>,
) -> Result<Vec<Arc<Upstream>>, Trouble> {
    let mut built = Vec::with_capacity(settings.upstreams.len());
    for upstream in &settings.upstreams {
        let refused = |text: String| {
            let file = settings.file.display();
            Trouble::Upstream(format!("{file}: upstream {:?}: {text}", upstream.name))
        };
        let wanted = upstream_settings(upstream).map_err(refused)?;
        let old = previous.iter().find(|old| old.settings().name == wanted.name);
        // answers of another service must not be taken for this one's
        let id = match old.filter(|old| is_same_service(&old.settings().kind, &wanted.kind)) {
            Some(old) => old.id(),
            None => NEXT_ID.fetch_add(1, Ordering::Relaxed),
        };
        let sink = Arc::clone(sink);
        let upstream = Upstream::build(id, wanted, old, workers(settings), sink)
            .map_err(|e| refused(e.to_string()))?;
        built.push(upstream);
    }
    Ok(built)
}

fn upstream_settings(upstream: &written::Upstream) -> Result<UpstreamSettings, String> {
    let kind = match &upstream.kind {
        written::UpstreamKind::Plain { servers } => Kind::Plain { servers: servers.clone() },
        written::UpstreamKind::Doh(doh) => {
            let numbered = doh.paths.iter().zip(1..);
            let paths = numbered.map(|(path, number)| Path::new(number, path.expose()));
            Kind::Doh(DohSettings {
                host: doh.host.clone(),
                port: doh.port,
                paths: paths.collect::<Result<_, _>>().map_err(|e| e.to_string())?,
                addresses: doh.addresses.clone(),
                standby: doh.standby.clone(),
                ca: doh.ca.clone(),
            })
        }
    };
    Ok(UpstreamSettings {
        name: upstream.name.clone(),
        kind,
        max_in_flight: upstream.max_in_flight,
    })
}

fn is_same_service(old: &Kind, new: &Kind) -> bool {
    match (old, new) {
        (Kind::Doh(old), Kind::Doh(new)) => {
            old.host == new.host && old.port == new.port && old.paths == new.paths
        }
        (old, new) => old == new,
    }
}

/// Everything one judgement needs.
pub(super) fn snapshot(
    settings: &Settings,
    acl: Arc<Acl>,
    policy: Arc<PolicySet>,
    notify: Arc<Desk>,
    upstreams: &[Arc<Upstream>],
) -> Snapshot {
    let mut routes = Routes::new(Arc::clone(&upstreams[0]));
    for route in &settings.routes {
        for zone in &route.zones {
            routes.add(zone, Arc::clone(&upstreams[route.upstream]), route.filter);
        }
    }
    for (group, view) in settings.groups.iter().zip(1..) {
        if let Some(upstream) = group.upstream {
            routes.set_default(view, Arc::clone(&upstreams[upstream]));
        }
    }
    Snapshot {
        acl,
        outside: match settings.server.outside {
            written::Outside::Refused => Outside::Refused,
            written::Outside::Drop => Outside::Drop,
        },
        payload: settings.server.udp_payload,
        policy,
        break_dnssec: settings.response_policy.break_dnssec,
        wait: settings.response_policy.wait,
        svcb_hints: settings.response_policy.svcb_hints,
        min_ns_dots: settings.response_policy.min_ns_dots,
        negative_soa: settings.response_policy.negative_soa,
        local: Arc::new(LocalNames::new(&local::Settings {
            hosts: settings.local.hosts.clone(),
            special: settings.local.special,
            canary_domain: settings.local.canary_domain,
        })),
        routes: Arc::new(routes),
        notify,
    }
}

/// The hit log's writer, started.
pub(super) fn writer(
    settings: &Settings,
    server_name: &str,
    instead: Option<Destination>,
) -> Result<Writer, Trouble> {
    let destination = instead.unwrap_or_else(|| match &settings.log.hits {
        written::Hits::Journal => Destination::Journal,
        written::Hits::Stderr => Destination::Stderr,
        written::Hits::File(path) => Destination::File(path.clone()),
    });
    let format = match settings.log.format {
        written::LogFormat::Json => Format::Json,
        written::LogFormat::Bind => Format::Bind,
        written::LogFormat::BindLegacy => Format::BindLegacy,
    };
    let what = match &destination {
        Destination::File(path) => path.display().to_string(),
        _ => "the hit log".to_owned(),
    };
    Writer::start(server_name.to_owned(), destination, format, settings.log.queries)
        .map_err(|e| Trouble::System(format!("{what}: {e}")))
}

/// Settings that a reload does not change.
pub(super) fn needs_restart(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let changed = [
        ("server.name", server_name(old) != server_name(new)),
        ("server.workers", workers(old) != workers(new)),
        ("server.control", old.server.control != new.server.control),
        ("server.control_group", old.server.control_group != new.server.control_group),
        ("server.state", old.server.state != new.server.state),
        ("cache", old.cache != new.cache),
        ("log.hits", old.log.hits != new.log.hits),
        ("log.format", old.log.format != new.log.format),
        ("status.listen", old.status.listen != new.status.listen),
    ];
    changed.iter().filter(|(_, changed)| *changed).map(|(key, _)| *key).collect()
}
