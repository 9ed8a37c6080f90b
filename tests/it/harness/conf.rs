//! The configuration file of a test's relay, written piece by piece.

use super::backend::{Backend, PATH};
use super::process::{LOCAL, free_port};
use super::tls::{HOST, Tls};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A configuration and the folder with its files.
pub struct Conf {
    /// The folder; see [`Conf::folder`].
    pub home: tempfile::TempDir,
    /// Values of `server.listen`; the first one is what the tests ask.
    pub listen: Vec<String>,
    pub allow: Vec<String>,
    /// More lines in `[server]`, `[log]`, `[response_policy]`, `[local]`, `[cache]`.
    pub server: String,
    pub log: String,
    pub response_policy: String,
    pub local: String,
    pub cache: String,
    /// Arrays of tables and anything else, in order.
    pub sections: String,
    pub address: SocketAddr,
    pub status: SocketAddr,
}

impl Conf {
    /// One listener on 127.0.0.1, files in a folder of its own, no upstream yet.
    pub fn new() -> Conf {
        Conf::listening(free_port(LOCAL))
    }

    /// As [`Conf::new`], with the listener elsewhere.
    pub fn listening(address: SocketAddr) -> Conf {
        let home = tempfile::tempdir().expect("a folder for the relay");
        let hits = quoted(&home.path().join("hits.log"));
        Conf {
            home,
            listen: vec![address.to_string()],
            allow: vec!["127.0.0.0/8".into(), "::1".into()],
            server: String::new(),
            log: format!("hits = {hits}\nformat = \"json\"\n"),
            response_policy: String::new(),
            local: String::new(),
            cache: String::new(),
            sections: String::new(),
            address,
            status: free_port(LOCAL),
        }
    }

    /// A relay in front of these scripted backends.
    pub fn before(tls: &Tls, backends: &[&Backend]) -> Conf {
        let addresses: Vec<_> = backends.iter().map(|b| b.address).collect();
        Conf::new().service(tls, PATH, &addresses)
    }

    /// Adds the DoH upstream `service`.
    pub fn service(mut self, tls: &Tls, path: &str, addresses: &[SocketAddr]) -> Conf {
        let port = addresses[0].port();
        let addresses = list(addresses);
        let ca = quoted(&tls.ca());
        writeln!(
            self.sections,
            "[[upstream]]\nname = \"service\"\nurl = \"https://{HOST}:{port}{path}\"\n\
             addresses = {addresses}\nca = {ca}\n"
        )
        .expect("a String takes all");
        self
    }

    /// Adds a plain upstream.
    pub fn plain(self, name: &str, servers: &[SocketAddr]) -> Conf {
        let servers = list(servers);
        self.with(&format!("[[upstream]]\nname = \"{name}\"\nservers = {servers}"))
    }

    /// Sends zones to an upstream.
    pub fn route(self, zones: &[&str], upstream: &str) -> Conf {
        let zones = list(zones);
        self.with(&format!("[[route]]\nzones = {zones}\nupstream = \"{upstream}\""))
    }

    /// Adds a policy zone from a file that holds a SOA, an NS and these rules.
    pub fn policy(self, zone: &str, rules: &str) -> Conf {
        self.policy_with(zone, rules, "")
    }

    /// As [`Conf::policy`], with more lines in the `[[policy]]` table.
    pub fn policy_with(self, zone: &str, rules: &str, lines: &str) -> Conf {
        self.write_zone(zone, 1, rules);
        let file = quoted(&self.zone_file(zone));
        self.with(&format!("[[policy]]\nzone = \"{zone}\"\nfile = {file}\n{lines}"))
    }

    /// Adds lines at the end.
    pub fn with(mut self, lines: &str) -> Conf {
        writeln!(self.sections, "{lines}\n").expect("a String takes all");
        self
    }

    pub fn server(mut self, line: &str) -> Conf {
        writeln!(self.server, "{line}").expect("a String takes all");
        self
    }

    pub fn response_policy(mut self, line: &str) -> Conf {
        writeln!(self.response_policy, "{line}").expect("a String takes all");
        self
    }

    pub fn local(mut self, line: &str) -> Conf {
        writeln!(self.local, "{line}").expect("a String takes all");
        self
    }

    pub fn cache(mut self, line: &str) -> Conf {
        writeln!(self.cache, "{line}").expect("a String takes all");
        self
    }

    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    pub fn file(&self) -> PathBuf {
        self.folder().join("culvert.toml")
    }

    pub fn hits(&self) -> PathBuf {
        self.folder().join("hits.log")
    }

    /// Where a policy zone's file is.
    pub fn zone_file(&self, zone: &str) -> PathBuf {
        self.folder().join(format!("{zone}.rpz"))
    }

    /// Replaces a policy zone's file by rename, as careful tools do. Blanks at the beginning of
    /// a rule's line are for the reader of the test only.
    pub fn write_zone(&self, zone: &str, serial: u32, rules: &str) {
        let rules =
            rules.lines().map(|line| format!("{}\n", line.trim_start())).collect::<String>();
        let text = format!(
            "$TTL 300\n$ORIGIN {zone}.\n\
             @ IN SOA ns.{zone}. host.{zone}. {serial} 3600 600 86400 60\n\
             @ IN NS localhost.\n{rules}"
        );
        self.write(&self.zone_file(zone), &text);
    }

    /// Writes the configuration file.
    pub fn save(&self) {
        self.write(&self.file(), &self.text());
    }

    /// The configuration as text.
    pub fn text(&self) -> String {
        let folder = self.folder();
        let (state, control) = (folder.join("state"), folder.join("control.sock"));
        std::fs::create_dir_all(&state).expect("the state folder is created");
        format!(
            "version = 1\n\n[server]\nname = \"relay-under-test\"\nlisten = {}\nallow = {}\n\
             state = {}\ncontrol = {}\n{}\n[log]\n{}\n[status]\nlisten = \"{}\"\n\n\
             [response_policy]\n{}\n[cache]\n{}\n[local]\n{}\n{}",
            list(&self.listen),
            list(&self.allow),
            quoted(&state),
            quoted(&control),
            self.server,
            self.log,
            self.status,
            self.response_policy,
            self.cache,
            self.local,
            self.sections,
        )
    }

    fn write(&self, file: &Path, text: &str) {
        let fresh = file.with_extension("new");
        std::fs::write(&fresh, text).expect("a file is written");
        std::fs::rename(&fresh, file).expect("a file is renamed");
    }
}

/// A TOML list of strings.
pub fn list<T: ToString>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(|i| format!("\"{}\"", i.to_string())).collect();
    format!("[{}]", items.join(", "))
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}
