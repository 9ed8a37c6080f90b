//! named in two parts: the truth that both resolvers ask, and the reference beside the relay.
//!
//! ```text
//!            ┌─▶ reference  named, forward only, response-policy ─DNS─┐
//!  questions ┤                                                        ├─▶ truth  named,
//!            └─▶ relay      the program under test ──────────────DoH──┘   authoritative
//! ```

use super::differ::Ask;
use super::world::World;
use super::zones::{Override, PolicyZone, Question, Setting};
use crate::harness::conf::Conf;
use crate::harness::peers::DOH_PATH;
use crate::harness::process::{LOCAL, Process, free_port, run};
use crate::harness::relay::Relay;
use crate::harness::tls::Tls;
use crate::harness::wire::{NS, name_bytes};
use crate::harness::{eventually, millis, secs};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

const NAMED: &str = "/usr/sbin/named";
const LOCAL6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Lets a zone file hold whatever a test wants.
const LENIENT: &str = "check-names ignore; check-integrity no; check-sibling no; \
                       check-wildcard no; check-mx ignore; check-srv-cname ignore; \
                       check-mx-cname ignore;";

/// A server's addresses, one a family.
#[derive(Clone, Copy)]
pub struct Server {
    pub four: SocketAddr,
    pub six: SocketAddr,
}

impl Server {
    /// The address that a client with this address can reach.
    pub fn for_client(&self, from: IpAddr) -> SocketAddr {
        if from.is_ipv4() { self.four } else { self.six }
    }
}

/// The authoritative server: the names of a world over plain DNS and DoH, RA set.
pub struct Truth {
    plain: SocketAddr,
    doh: SocketAddr,
    tls: Tls,
    process: Process,
    _folder: tempfile::TempDir,
}

impl Truth {
    #[track_caller]
    pub fn start(world: &World) -> Truth {
        let (tls, folder) = (Tls::new(), tempfile::tempdir().expect("a folder for named"));
        let at = folder.path();
        let (plain, doh) = (free_port(LOCAL), free_port(LOCAL));
        let mut zones = String::new();
        for (n, origin) in world.zones.keys().enumerate() {
            let file = at.join(format!("{n}.zone"));
            std::fs::write(&file, world.text(origin)).expect("a zone file is written");
            let file = if world.signed.contains(origin) { sign(at, origin, &file) } else { file };
            let file = file.display();
            writeln!(zones, "zone \"{origin}.\" {{ type primary; file \"{file}\"; {LENIENT} }};")
                .expect("a String takes all");
        }
        for origin in &world.broken {
            writeln!(zones, "zone \"{origin}.\" {{ type primary; file \"no-such-file\"; }};")
                .expect("a String takes all");
        }
        let conf = format!(
            "tls t {{ cert-file \"{}\"; key-file \"{}\"; }};\n\
             http h {{ endpoints {{ \"{DOH_PATH}\"; }}; streams-per-connection 1000; }};\n\
             options {{ {}\n\
             listen-on port {} {{ {LOCAL}; }}; listen-on port {} tls t http h {{ {LOCAL}; }};\n\
             listen-on-v6 {{ none; }}; http-listener-clients 0;\n\
             minimal-responses yes; max-recursion-queries 1; }};\n{zones}",
            tls.cert().display(),
            tls.key().display(),
            options(at),
            plain.port(),
            doh.port(),
        );
        let mut process = start(at, &conf);
        process.until_connects(doh);
        let truth = Truth { plain, doh, tls, process, _folder: folder };
        let probe = Question::plain("web.garden.gamma");
        let server = Server { four: plain, six: plain };
        eventually("the authoritative server answers", secs(15), || {
            Ask { server, limit: millis(300), tries: 1 }.heard(&probe).is_answer()
        });
        let log = truth.process.output();
        assert_eq!(log.matches("not loaded").count(), world.broken.len(), "{log}");
        truth
    }

    /// The relay in front of this server, with a setting's policy.
    #[track_caller]
    pub fn relay(&self, setting: &Setting) -> (Relay, Server) {
        let (four, six) = (free_port(LOCAL), free_port(LOCAL6));
        let mut conf = Conf::listening(four)
            .service(&self.tls, DOH_PATH, &[self.doh])
            .local("special = false\ncanary_domain = false")
            .response_policy(&format!("break_dnssec = {}", setting.break_dnssec))
            .response_policy(&format!("wait = {}", setting.wait))
            .response_policy(&format!("min_ns_dots = {}", setting.min_ns_dots));
        conf.listen.push(six.to_string());
        for zone in &setting.zones {
            let action = match zone.action {
                Override::Given => String::new(),
                Override::Nxdomain => "action = \"nxdomain\"\n".into(),
                Override::Nodata => "action = \"nodata\"\n".into(),
                Override::Passthru => "action = \"passthru\"\n".into(),
                Override::Drop => "action = \"drop\"\n".into(),
                Override::TcpOnly => "action = \"tcp-only\"\n".into(),
                Override::Cname(target) => format!("action = \"cname:{target}\"\n"),
                Override::Monitor => "mode = \"monitor\"\n".into(),
            };
            let lines = format!("{action}recursive_only = {}\n", zone.recursive_only);
            conf = conf.policy_with(&zone.name, &zone.rules.join("\n"), &lines);
        }
        (conf.start(), Server { four, six })
    }
}

/// The reference: a resolver that forwards to the truth and reads the relay's zone files.
pub struct Reference {
    pub server: Server,
    process: Process,
    _folder: tempfile::TempDir,
}

impl Reference {
    #[track_caller]
    pub fn start(truth: &Truth, setting: &Setting, relay: &Conf) -> Reference {
        let folder = tempfile::tempdir().expect("a folder for named");
        let server = Server { four: free_port(LOCAL), six: free_port(LOCAL6) };
        let (mut listed, mut zones) = (String::new(), String::new());
        for zone in &setting.zones {
            let (name, file) = (&zone.name, relay.zone_file(&zone.name));
            let recursive = yes(zone.recursive_only);
            writeln!(listed, "zone \"{name}\" policy {} recursive-only {recursive};", word(zone))
                .and_then(|()| {
                    let file = file.display();
                    writeln!(
                        zones,
                        "zone \"{name}\" {{ type primary; file \"{file}\"; {LENIENT} }};"
                    )
                })
                .expect("a String takes all");
        }
        let conf = format!(
            "options {{ {}\n\
             listen-on port {} {{ {LOCAL}; }}; listen-on-v6 port {} {{ ::1; }};\n\
             forward only; forwarders port {} {{ {LOCAL}; }};\n\
             servfail-ttl 0; prefetch 0; qname-minimization off; stale-answer-enable no;\n\
             response-policy {{\n{listed}}} qname-wait-recurse {} break-dnssec {}\n\
             min-ns-dots {} nsip-enable yes nsdname-enable yes min-update-interval 0; }};\n{zones}",
            options(folder.path()),
            server.four.port(),
            server.six.port(),
            truth.plain.port(),
            yes(setting.wait),
            yes(setting.break_dnssec),
            setting.min_ns_dots,
        );
        let mut process = start(folder.path(), &conf);
        process.until_connects(server.four);
        eventually("the reference has loaded its policy", secs(15), || {
            let log = process.output();
            setting.zones.iter().all(|z| log.contains(&format!("rpz: {}: reload done", z.name)))
        });
        // It looks at name servers only once its cache holds some NS set at or above the name.
        let root = Question { qtype: NS, ..Question::plain("") };
        eventually("the reference answers", secs(15), || {
            Ask { server, limit: millis(300), tries: 1 }.heard(&root).is_answer()
        });
        Reference { server, process, _folder: folder }
    }

    /// Whether it still runs: named 9.18 fails an assertion (rpz_rrset_find) now and then when
    /// it has to look up name servers.
    pub fn is_alive(&mut self) -> bool {
        self.process.is_running()
    }

    /// What it logged, by what was asked.
    pub fn log(&self) -> HashMap<Asked, Vec<String>> {
        let mut all: HashMap<_, Vec<String>> = HashMap::new();
        for (asked, said) in self.process.output().lines().filter_map(logged) {
            let lines = all.entry(asked).or_default();
            if !lines.contains(&said) {
                lines.push(said);
            }
        }
        all
    }
}

/// Client, name in wire form and lower case, type.
pub type Asked = (IpAddr, Vec<u8>, String);

/// `... client @0x0 ADDR#PORT (NAME): rpz TRIGGER ACTION rewrite NAME/TYPE/CLASS via OWNER`
fn logged(line: &str) -> Option<(Asked, String)> {
    let (head, said) = line.split_once("): ")?;
    let (_, question) = said.split_once(" rewrite ")?;
    let mut parts = question.split(' ').next()?.rsplitn(3, '/');
    let (_class, qtype, name) = (parts.next()?, parts.next()?, parts.next()?);
    let client = head.split(' ').find_map(|word| word.split_once('#')?.0.parse().ok())?;
    Some(((client, name_bytes(name).to_ascii_lowercase(), qtype.to_owned()), said.to_owned()))
}

fn word(zone: &PolicyZone) -> String {
    match zone.action {
        Override::Given => "given".into(),
        Override::Nxdomain => "nxdomain".into(),
        Override::Nodata => "nodata".into(),
        Override::Passthru => "passthru".into(),
        Override::Drop => "drop".into(),
        Override::TcpOnly => "tcp-only".into(),
        Override::Cname(target) => format!("cname {target}."),
        Override::Monitor => "disabled".into(),
    }
}

fn yes(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

/// What both servers have in their options.
fn options(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "directory \"{folder}\"; pid-file none; session-keyfile \"{folder}/session.key\";\n\
         recursion yes; allow-query {{ any; }}; allow-recursion {{ any; }};\n\
         dnssec-validation no; empty-zones-enable no; minimal-any no; notify no;"
    )
}

fn start(folder: &Path, conf: &str) -> Process {
    let file = folder.join("named.conf");
    let quiet = "controls { };\nlogging { category lame-servers { null; };\n\
                 category resolver { null; }; category query-errors { null; }; };\n";
    std::fs::write(&file, format!("{conf}{quiet}")).expect("a configuration is written");
    Process::start("named", Path::new(NAMED), folder, |command| {
        command.args(["-f", "-g", "-n", "1", "-c"]).arg(&file);
    })
}

/// Signs a zone with a key of its own; the file that results.
fn sign(folder: &Path, origin: &str, file: &Path) -> PathBuf {
    let signed = file.with_extension("signed");
    let mut key = Command::new("dnssec-keygen");
    key.args(["-q", "-a", "ECDSAP256SHA256", "-f", "KSK", "-K"]).arg(folder).arg(origin);
    let mut signer = Command::new("dnssec-signzone");
    signer.args(["-S", "-z", "-x", "-o", origin, "-K"]).arg(folder);
    signer.arg("-d").arg(folder).arg("-f").arg(&signed).arg(file);
    for command in [&mut key, &mut signer] {
        let output = run(command, secs(20));
        assert!(output.status.success(), "{command:?}: {output:?}");
    }
    signed
}
