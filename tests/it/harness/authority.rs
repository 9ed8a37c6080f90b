//! Real programs as primaries of one zone: BIND, NSD, Knot DNS, PowerDNS Authoritative.
//!
//! ```text
//!   start(program, plan, serial, records) ─► folder with zone file and configuration ─► serves
//!   publish(serial, records) ─► zone file renamed, program told ─► serves ─► NOTIFY to plan.tell
//! ```

use super::client::Udp;
use super::process::{LOCAL, Process, free_port, run};
use super::tls::Tls;
use super::tsig::Key;
use super::wire::{Message, Query, SOA};
use super::{eventually, millis, secs};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that serves zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Bind,
    Nsd,
    Knot,
    PowerDns,
}

/// What a primary is to do.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// BIND and NSD offer DNS over TLS with it.
    pub tls: &'a Tls,
    pub zone: &'a str,
    /// Transfers need it, and NOTIFYs are signed with it.
    pub key: Option<&'a Key>,
    /// Who gets NOTIFYs.
    pub tell: Option<SocketAddr>,
}

/// A running primary.
pub struct Authority {
    pub address: SocketAddr,
    /// DNS over TLS, of BIND and NSD.
    pub tls: SocketAddr,
    pub process: Process,
    program: Program,
    zone: String,
    folder: tempfile::TempDir,
}

/// Where a primary has its files and ports.
struct Place<'a> {
    plan: &'a Plan<'a>,
    folder: &'a Path,
    address: SocketAddr,
    tls: SocketAddr,
}

impl Authority {
    /// Starts with this version. Transfers need the key, if there is one. The records are lines
    /// of a master file, relative to the zone; the program's own SOA, NS and its address are added.
    #[track_caller]
    pub fn start(program: Program, plan: &Plan, serial: u32, records: &str) -> Authority {
        let folder = tempfile::tempdir().expect("a folder for the primary");
        let (address, tls) = (free_port(LOCAL), free_port(LOCAL));
        let place = Place { plan, folder: folder.path(), address, tls };
        write(&folder.path().join("zone"), &master_file(plan.zone, serial, records));
        let process = match program {
            Program::Bind => bind(&place),
            Program::Nsd => nsd(&place),
            Program::Knot => knot(&place),
            Program::PowerDns => powerdns(&place),
        };
        let zone = plan.zone.to_owned();
        let mut authority = Authority { address, tls, process, program, zone, folder };
        authority.process.until_connects(address);
        authority.until_serves(serial);
        authority
    }

    /// Publishes another version; the program works out what changed, if it can.
    #[track_caller]
    pub fn publish(&self, serial: u32, records: &str) {
        self.publish_file(serial, &master_file(&self.zone, serial, records));
    }

    /// As [`Authority::publish`], with the whole file.
    #[track_caller]
    pub fn publish_file(&self, serial: u32, text: &str) {
        let at = self.folder.path();
        write(&at.join("next"), text);
        std::fs::rename(at.join("next"), at.join("zone")).expect("a file is renamed");
        match self.program {
            Program::PowerDns => self.control(&["bind-reload-now", &self.zone]),
            _ => self.process.signal("HUP"),
        }
        self.until_serves(serial);
        if self.program == Program::PowerDns {
            self.control(&["notify", &self.zone]);
        }
    }

    #[track_caller]
    fn control(&self, args: &[&str]) {
        let at = self.folder.path().display();
        let mut command = Command::new("pdns_control");
        command.arg(format!("--config-dir={at}")).arg(format!("--socket-dir={at}")).args(args);
        succeeds(&mut command);
    }

    #[track_caller]
    fn until_serves(&self, serial: u32) {
        let client = Udp::to(self.address);
        eventually("the primary serves the version", secs(30), || {
            client.send(&Query::new(&self.zone, SOA).bytes());
            let answer = client.receive(millis(300));
            let message = answer.and_then(|b| Message::read(&b).ok());
            let soa = message.and_then(|m| m.answers.first().cloned());
            soa.is_some_and(|soa| {
                let at = soa.rdata.len() - 20;
                soa.rdata[at..at + 4] == serial.to_be_bytes()
            })
        });
    }
}

/// A whole zone file: SOA, NS, its address, and these records.
pub fn master_file(zone: &str, serial: u32, records: &str) -> String {
    format!(
        "$TTL 300\n$ORIGIN {zone}.\n@ IN SOA ns host {serial} 3600 600 86400 60\n\
         @ IN NS ns\nns IN A 192.0.2.53\n{records}\n"
    )
}

fn bind(place: &Place) -> Process {
    let Plan { tls, zone, key, tell } = place.plan;
    let keys = key.map_or(String::new(), |key| {
        let (name, hash) = (&key.name, key.hash.name());
        format!("key \"{name}\" {{ algorithm {hash}; secret \"{}\"; }};\n", key.base64())
    });
    let by = key.map_or(String::new(), |key| format!("key \"{}\"", key.name));
    let allowed = if key.is_some() { &by } else { "any" };
    let notify = tell.map_or("notify no;".to_owned(), |to| {
        let (ip, port) = (to.ip(), to.port());
        format!("notify explicit; notify-delay 0; also-notify {{ {ip} port {port} {by}; }};")
    });
    let conf = format!(
        "{keys}tls t {{ cert-file \"{}\"; key-file \"{}\"; }};\n\
         options {{ directory \"{dir}\"; pid-file none; session-keyfile \"{dir}/session.key\";\n\
         listen-on port {} {{ {LOCAL}; }}; listen-on port {} tls t {{ {LOCAL}; }};\n\
         listen-on-v6 {{ none; }}; recursion no; allow-query {{ any; }};\n\
         dnssec-validation no; empty-zones-enable no; {notify} }};\ncontrols {{ }};\n\
         zone \"{zone}\" {{ type primary; file \"zone\"; check-integrity no;\n\
         ixfr-from-differences yes; allow-transfer {{ {allowed}; }}; }};\n",
        tls.cert().display(),
        tls.key().display(),
        place.address.port(),
        place.tls.port(),
        dir = place.folder.display(),
    );
    place.starts("/usr/sbin/named", &["-f", "-g", "-n", "1", "-c"], "named.conf", &conf)
}

fn nsd(place: &Place) -> Process {
    let Plan { tls, zone, key, tell } = place.plan;
    let keys = key.map_or(String::new(), |key| {
        let (name, hash) = (&key.name, key.hash.name());
        format!("key:\n name: {name}\n algorithm: {hash}\n secret: \"{}\"\n", key.base64())
    });
    let by = key.map_or("NOKEY", |key| &key.name);
    let notify = tell.map_or(String::new(), |to| format!(" notify: {} {by}\n", at(to)));
    let conf = format!(
        "server:\n ip-address: {plain}\n ip-address: {over_tls}\n tls-port: {port}\n\
         tls-service-key: \"{}\"\n tls-service-pem: \"{}\"\n do-ip6: no\n username: \"\"\n\
         chroot: \"\"\n zonesdir: \"{dir}\"\n database: \"\"\n pidfile: \"\"\n\
         xfrdfile: \"{dir}/xfrd.state\"\n xfrdir: \"{dir}\"\n zonelistfile: \"{dir}/zone.list\"\n\
         server-count: 1\n zonefiles-check: yes\n zonefiles-write: 0\n verbosity: 2\n\
         remote-control:\n control-enable: no\n{keys}\
         zone:\n name: {zone}\n zonefile: zone\n provide-xfr: {LOCAL} {by}\n{notify} \
         store-ixfr: yes\n create-ixfr: yes\n",
        tls.key().display(),
        tls.cert().display(),
        plain = at(place.address),
        over_tls = at(place.tls),
        port = place.tls.port(),
        dir = place.folder.display(),
    );
    place.starts("/usr/sbin/nsd", &["-d", "-c"], "nsd.conf", &conf)
}

fn knot(place: &Place) -> Process {
    let Plan { zone, key, tell, .. } = place.plan;
    let keys = key.map_or(String::new(), |key| {
        let (name, hash) = (&key.name, key.hash.name());
        format!("key:\n  - id: {name}\n    algorithm: {hash}\n    secret: {}\n", key.base64())
    });
    let by = key.map_or(String::new(), |key| format!("    key: {}\n", key.name));
    let (remote, notify) = match tell {
        Some(to) => (
            format!("remote:\n  - id: relay\n    address: {}\n{by}", at(*to)),
            "    notify: relay\n",
        ),
        None => (String::new(), ""),
    };
    let dir = place.folder.display();
    std::fs::create_dir(place.folder.join("db")).expect("a folder is made");
    let conf = format!(
        "server:\n    rundir: \"{dir}\"\n    listen: {}\n    udp-workers: 1\n    \
         tcp-workers: 1\n    background-workers: 1\n\
         log:\n  - target: stderr\n    any: info\n\
         database:\n    storage: \"{dir}/db\"\n    journal-db-max-size: 32M\n    \
         kasp-db-max-size: 5M\n    timer-db-max-size: 1M\n\
         control:\n    listen: \"{dir}/knot.sock\"\n{keys}{remote}\
         acl:\n  - id: take\n    address: {LOCAL}\n    action: transfer\n{by}\
         zone:\n  - domain: {zone}\n    storage: \"{dir}\"\n    file: zone\n    \
         semantic-checks: off\n    zonefile-load: difference\n    zonefile-sync: -1\n    \
         journal-content: changes\n    acl: take\n{notify}",
        at(place.address),
    );
    place.starts("/usr/sbin/knotd", &["-c"], "knot.conf", &conf)
}

fn powerdns(place: &Place) -> Process {
    let Plan { zone, key, tell, .. } = place.plan;
    let dir = place.folder.display();
    let zones = format!("zone \"{zone}\" {{ type master; file \"{dir}/zone\"; }};\n", dir = dir);
    write(&place.folder.join("zones"), &zones);
    let (keys, addresses) = match key {
        Some(_) => (format!("bind-dnssec-db={dir}/keys.db\n"), String::new()),
        None => (String::new(), LOCAL.to_string()),
    };
    let conf = format!(
        "launch=bind\nbind-config={dir}/zones\n{keys}local-address={LOCAL}\nlocal-port={}\n\
         socket-dir={dir}\ndaemon=no\nguardian=no\nwrite-pid=no\nprimary=yes\nonly-notify=\n\
         also-notify={}\nallow-axfr-ips={addresses}\nsecurity-poll-suffix=\n\
         receiver-threads=1\ndistributor-threads=1\ncache-ttl=0\nquery-cache-ttl=0\n\
         negquery-cache-ttl=0\nzone-cache-refresh-interval=0\n",
        place.address.port(),
        tell.map_or(String::new(), |to| to.to_string()),
    );
    write(&place.folder.join("pdns.conf"), &conf);
    if let Some(key) = key {
        let (name, hash, secret) = (&key.name, key.hash.name(), key.base64());
        for args in [
            &["create-bind-db", &format!("{dir}/keys.db")][..],
            &["import-tsig-key", name, hash, &secret],
            &["activate-tsig-key", zone, name, "primary"],
        ] {
            succeeds(Command::new("pdnsutil").arg(format!("--config-dir={dir}")).args(args));
        }
    }
    let program = Path::new("/usr/sbin/pdns_server");
    Process::start("pdns_server", program, place.folder, |command| {
        command.arg(format!("--config-dir={dir}"));
    })
}

impl Place<'_> {
    /// Starts a program whose last argument is its configuration.
    fn starts(&self, program: &str, args: &[&str], name: &str, conf: &str) -> Process {
        let file = self.folder.join(name);
        write(&file, conf);
        let name = program.rsplit('/').next().unwrap_or(program);
        Process::start(name, Path::new(program), self.folder, |command| {
            command.args(args).arg(&file);
        })
    }
}

#[track_caller]
fn succeeds(command: &mut Command) {
    let output = run(command, secs(20));
    assert!(output.status.success(), "{command:?}: {output:?}");
}

#[track_caller]
fn write(file: &PathBuf, text: &str) {
    std::fs::write(file, text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
}

/// `ADDRESS@PORT`, as NSD and Knot DNS write it.
fn at(address: SocketAddr) -> String {
    format!("{}@{}", address.ip(), address.port())
}
