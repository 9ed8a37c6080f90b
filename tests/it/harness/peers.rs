//! Real servers as backends and upstreams: named, unbound, dnsdist.

use super::client::Udp;
use super::process::{LOCAL, Process, free_port};
use super::tls::Tls;
use super::wire::{A, Query};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// The DoH path of the real servers.
pub const DOH_PATH: &str = "/dns-query";

/// A running server: its plain and its DoH address.
pub struct Peer {
    pub process: Process,
    pub plain: SocketAddr,
    pub doh: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Peer {
    /// named, authoritative for `zones` (origin, records relative to it), with RA set as a
    /// resolver has it, over plain DNS and DoH.
    #[track_caller]
    pub fn bind(tls: &Tls, zones: &[(&str, &str)]) -> Peer {
        let folder = tempfile::tempdir().expect("a folder for named");
        let at = folder.path();
        let (plain, doh) = (free_port(LOCAL), free_port(LOCAL));
        let mut listed = String::new();
        for (origin, records) in zones {
            let file = at.join(format!("{origin}.zone"));
            let text = format!(
                "$ORIGIN {origin}.\n$TTL 300\n@ IN SOA ns host 1 3600 600 86400 60\n\
                 @ IN NS ns\nns IN A 192.0.2.53\n{records}\n"
            );
            std::fs::write(&file, text).expect("a zone file is written");
            listed += &format!(
                "zone \"{origin}\" {{ type primary; file \"{}\"; check-integrity no; }};\n",
                file.display()
            );
        }
        let conf = format!(
            "tls t {{ cert-file \"{}\"; key-file \"{}\"; }};\n\
             http h {{ endpoints {{ \"{DOH_PATH}\"; }}; streams-per-connection 400; }};\n\
             options {{ directory \"{dir}\"; pid-file none;\n\
             session-keyfile \"{dir}/session.key\";\n\
             listen-on port {} {{ {ip}; }}; listen-on port {} tls t http h {{ {ip}; }};\n\
             listen-on-v6 {{ none; }}; recursion yes; allow-query {{ any; }};\n\
             allow-recursion {{ any; }}; dnssec-validation no; empty-zones-enable no;\n\
             minimal-responses yes; max-recursion-queries 1; notify no;\n\
             http-listener-clients 0; }};\n\
             controls {{ }};\n\
             zone \".\" {{ type primary; file \"root.zone\"; check-integrity no; }};\n{listed}",
            tls.cert().display(),
            tls.key().display(),
            plain.port(),
            doh.port(),
            dir = at.display(),
            ip = LOCAL,
        );
        std::fs::write(
            at.join("root.zone"),
            "$TTL 300\n. SOA ns. host. 1 3600 600 86400 60\n. NS ns.\nns. A 192.0.2.53\n",
        )
        .expect("the root zone is written");
        let file = write(at, "named.conf", &conf);
        let process = Process::start("named", Path::new("/usr/sbin/named"), at, |command| {
            command.args(["-f", "-g", "-n", "1", "-c"]).arg(&file);
        });
        Peer { process, plain, doh, _folder: folder }.ready(&format!("ns.{}", zones[0].0))
    }

    /// unbound, offering DoH and forwarding everything to `behind`.
    #[track_caller]
    pub fn unbound(tls: &Tls, behind: SocketAddr, probe: &str) -> Peer {
        let folder = tempfile::tempdir().expect("a folder for unbound");
        let (plain, doh) = (free_port(LOCAL), free_port(LOCAL));
        let conf = format!(
            "server:\n interface: {}\n interface: {}\n https-port: {}\n\
             tls-service-key: \"{}\"\n tls-service-pem: \"{}\"\n http-endpoint: \"{DOH_PATH}\"\n\
             access-control: 127.0.0.0/8 allow\n do-daemonize: no\n use-syslog: no\n\
             logfile: \"\"\n username: \"\"\n chroot: \"\"\n directory: \"{}\"\n\
             pidfile: \"\"\n num-threads: 1\n\
             module-config: \"iterator\"\n do-not-query-localhost: no\n outgoing-range: 512\n\
             forward-zone:\n name: \".\"\n forward-addr: {}\n\
             remote-control:\n control-enable: no\n",
            at(plain),
            at(doh),
            doh.port(),
            tls.key().display(),
            tls.cert().display(),
            folder.path().display(),
            at(behind),
        );
        let file = write(folder.path(), "unbound.conf", &conf);
        let program = Path::new("/usr/sbin/unbound");
        let process = Process::start("unbound", program, folder.path(), |command| {
            command.args(["-d", "-p", "-c"]).arg(&file);
        });
        Peer { process, plain, doh, _folder: folder }.ready(probe)
    }

    /// dnsdist, offering DoH and forwarding everything to `behind`.
    #[track_caller]
    pub fn dnsdist(tls: &Tls, behind: SocketAddr, probe: &str) -> Peer {
        let folder = tempfile::tempdir().expect("a folder for dnsdist");
        let (plain, doh) = (free_port(LOCAL), free_port(LOCAL));
        let conf = format!(
            "setLocal('{plain}')\nsetACL({{'127.0.0.0/8'}})\nsetSecurityPollSuffix('')\n\
             newServer({{address='{behind}', checkName='{probe}.', maxCheckFailures=1000}})\n\
             addDOHLocal('{doh}', '{}', '{}', {{'{DOH_PATH}'}})\n",
            tls.cert().display(),
            tls.key().display(),
        );
        let file = write(folder.path(), "dnsdist.conf", &conf);
        let program = Path::new("/usr/bin/dnsdist");
        let process = Process::start("dnsdist", program, folder.path(), |command| {
            command.args(["--supervised", "--disable-syslog", "-C"]).arg(&file);
        });
        Peer { process, plain, doh, _folder: folder }.ready(probe)
    }

    /// Waits until the DoH port accepts and the plain port answers the probe.
    #[track_caller]
    fn ready(mut self, probe: &str) -> Peer {
        self.process.until_connects(self.doh);
        let client = Udp::to(self.plain);
        super::eventually("the server answers its probe", super::secs(15), || {
            client.send(&Query::new(probe, A).bytes());
            let answered = client.receive(super::millis(250));
            answered.is_some_and(|b| b.len() > 12 && b[3] & 15 == 0 && b[7] > 0)
        });
        self
    }
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, text).expect("a configuration is written");
    file
}

/// `ADDRESS@PORT`, as unbound writes it.
fn at(address: SocketAddr) -> String {
    let ip: IpAddr = address.ip();
    format!("{ip}@{}", address.port())
}
