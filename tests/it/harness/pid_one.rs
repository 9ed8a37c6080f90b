//! The relay under a service manager that keeps its sockets: process 1, as far as it matters.
//!
//! Descriptors are passed by a Python program, as these tests have no `unsafe`.

use super::conf::Conf;
use super::process::run;
use super::relay::PROGRAM;
use super::secs;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The service manager; dropping it ends it and its relay.
pub struct PidOne {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    pub conf: Conf,
}

impl PidOne {
    /// A service manager for a relay with this configuration; nothing is started yet.
    pub fn of(conf: Conf) -> PidOne {
        conf.save();
        let folder = conf.folder();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "python3", "-c", include_str!("pid_one.py")]);
        command.arg(folder.join("notify.sock")).arg(folder.join("culvert.log"));
        command.args([PROGRAM, "run", "--config"]).arg(conf.file());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 starts");
        let to = child.stdin.take().expect("piped");
        let from = BufReader::new(child.stdout.take().expect("piped"));
        PidOne { child, to, from, conf }
    }

    /// Tells it something, without waiting for what comes of it.
    pub fn tell(&mut self, command: &str) {
        writeln!(self.to, "{command}").expect("it listens");
    }

    /// What came of the next command; it fails by itself if that takes too long.
    #[track_caller]
    pub fn outcome(&mut self) -> Value {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("it talks");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no outcome:\n{}", self.log()))
    }

    #[track_caller]
    pub fn ask(&mut self, command: &str) -> Value {
        self.tell(command);
        let outcome = self.outcome();
        assert_ne!(outcome["ready"], false, "{command}: the relay ended:\n{}", self.log());
        outcome
    }

    /// Makes a socket as a socket unit does.
    #[track_caller]
    pub fn socket(&mut self, kind: &str, address: SocketAddr, more: &str) {
        self.ask(&format!("socket {kind} {} {} dns.socket {more}", address.ip(), address.port()));
    }

    /// Names of the sockets in the store.
    #[track_caller]
    pub fn names(&mut self) -> Vec<String> {
        let names = self.ask("names");
        serde_json::from_value(names["names"].clone()).expect("a list of names")
    }

    /// Runs a sub-command that has to succeed.
    #[track_caller]
    pub fn culvert(&self, args: &[&str]) -> String {
        let mut command = Command::new(PROGRAM);
        let output = run(command.args(args).arg("--config").arg(self.conf.file()), secs(20));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "culvert {args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// What the status says of one address.
    #[track_caller]
    pub fn listener(&self, address: SocketAddr) -> Value {
        let status: Value =
            serde_json::from_str(&self.culvert(&["status", "--json"])).expect("JSON");
        let listeners = status["listeners"].as_array().cloned().unwrap_or_default();
        let found = listeners.iter().find(|l| l["address"] == address.to_string());
        found.cloned().unwrap_or_else(|| panic!("no {address} in {listeners:#?}"))
    }

    /// What the relay's processes wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.conf.folder().join("culvert.log")).unwrap_or_default()
    }
}

impl Drop for PidOne {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- culvert wrote:\n{}\n----", self.log());
        }
    }
}
