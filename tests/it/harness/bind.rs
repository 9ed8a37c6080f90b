//! BIND as a primary: one zone, signed transfers and TLS as wanted, versions one after another.

use super::client::Udp;
use super::process::{LOCAL, Process, free_port};
use super::tls::Tls;
use super::tsig::Key;
use super::wire::{Query, Record, SOA};
use super::{eventually, millis, secs};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A running named with one zone. Transfers need the key, if there is one.
pub struct Bind {
    pub address: SocketAddr,
    /// DNS over TLS.
    pub tls: SocketAddr,
    pub process: Process,
    zone: String,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Bind {
    /// Starts with this version.
    #[track_caller]
    pub fn start(
        tls: &Tls,
        zone: &str,
        key: Option<&Key>,
        serial: u32,
        records: &[Record],
    ) -> Bind {
        let folder = tempfile::tempdir().expect("a folder for named");
        let file = folder.path().join("zone");
        std::fs::write(&file, text(zone, serial, records)).expect("a zone file is written");
        let (address, over_tls) = (free_port(LOCAL), free_port(LOCAL));
        let conf = configuration(tls, zone, key, [address, over_tls], folder.path());
        let conf_file = folder.path().join("named.conf");
        std::fs::write(&conf_file, conf).expect("a configuration is written");
        let program = Path::new("/usr/sbin/named");
        let process = Process::start("named", program, folder.path(), |command| {
            command.args(["-f", "-g", "-n", "1", "-c"]).arg(&conf_file);
        });
        let zone = zone.to_owned();
        let mut bind = Bind { address, tls: over_tls, process, zone, file, _folder: folder };
        bind.process.until_connects(bind.tls);
        bind.until_serves(serial);
        bind
    }

    /// Publishes another version; named works out the changes.
    #[track_caller]
    pub fn publish(&self, serial: u32, records: &[Record]) {
        let next = self.file.with_extension("next");
        std::fs::write(&next, text(&self.zone, serial, records)).expect("a file is written");
        std::fs::rename(&next, &self.file).expect("a file is renamed");
        self.process.signal("HUP");
        self.until_serves(serial);
    }

    #[track_caller]
    fn until_serves(&self, serial: u32) {
        let client = Udp::to(self.address);
        eventually("named serves the version", secs(30), || {
            client.send(&Query::new(&self.zone, SOA).bytes());
            let answer = client.receive(millis(300));
            let message = answer.and_then(|b| super::wire::Message::read(&b).ok());
            let soa = message.and_then(|m| m.answers.first().cloned());
            soa.is_some_and(|soa| {
                let at = soa.rdata.len() - 20;
                soa.rdata[at..at + 4] == serial.to_be_bytes()
            })
        });
    }
}

fn configuration(
    tls: &Tls,
    zone: &str,
    key: Option<&Key>,
    [plain, over_tls]: [SocketAddr; 2],
    folder: &Path,
) -> String {
    let (keys, allowed) = match key {
        Some(key) => (
            format!(
                "key \"{}\" {{ algorithm {}; secret \"{}\"; }};\n",
                key.name,
                key.hash.name(),
                key.base64()
            ),
            format!("key \"{}\";", key.name),
        ),
        None => (String::new(), "any;".to_owned()),
    };
    format!(
        "{keys}tls t {{ cert-file \"{}\"; key-file \"{}\"; }};\n\
         options {{ directory \"{dir}\"; pid-file none; session-keyfile \"{dir}/session.key\";\n\
         listen-on port {} {{ {ip}; }}; listen-on port {} tls t {{ {ip}; }};\n\
         listen-on-v6 {{ none; }}; recursion no; allow-query {{ any; }};\n\
         dnssec-validation no; empty-zones-enable no; notify no; }};\ncontrols {{ }};\n\
         zone \"{zone}\" {{ type primary; file \"zone\"; check-integrity no;\n\
         ixfr-from-differences yes; allow-transfer {{ {allowed} }}; }};\n",
        tls.cert().display(),
        tls.key().display(),
        plain.port(),
        over_tls.port(),
        dir = folder.display(),
        ip = LOCAL,
    )
}

/// A master file in which all data is in the generic form (RFC 3597 section 5).
fn text(zone: &str, serial: u32, records: &[Record]) -> String {
    let mut out = format!(
        "$TTL 300\n{zone}. IN SOA ns.{zone}. host.{zone}. {serial} 3600 600 86400 60\n\
         {zone}. IN NS ns.{zone}.\nns.{zone}. IN A 192.0.2.53\n"
    );
    for record in records {
        let Record { name, rtype, ttl, rdata, .. } = record;
        let _ = write!(out, "{name}. {ttl} IN TYPE{rtype} \\# {} ", rdata.len());
        for octet in rdata {
            let _ = write!(out, "{octet:02x}");
        }
        out.push('\n');
    }
    out
}
