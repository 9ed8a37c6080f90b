//! The program under test: started, asked, told and ended.

use super::client::{Over, Tcp, Udp, ask};
use super::conf::Conf;
use super::process::{Process, run};
use super::wire::{Message, Query};
use super::{eventually, millis, secs};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_culvert");

/// A running relay with its configuration; dropping it kills the process.
pub struct Relay {
    pub process: Process,
    pub conf: Conf,
    /// Where the tests ask.
    pub address: SocketAddr,
    /// What it said to the service manager, message by message.
    notified: Mutex<Receiver<String>>,
    /// As long as this is there, somebody reads those messages.
    _listening: Arc<()>,
}

impl Conf {
    /// Writes the file, starts the relay and waits until it says READY=1.
    #[track_caller]
    pub fn start(self) -> Relay {
        let mut relay = self.launch(&[]);
        relay.until_ready();
        relay
    }

    /// Starts the relay without waiting for it, with more environment.
    pub fn launch(self, environment: &[(&str, &str)]) -> Relay {
        self.launch_set(|command| {
            command.envs(environment.iter().copied());
        })
    }

    /// Starts the relay without waiting for it, by a command that was changed before.
    pub fn launch_set(self, set: impl Fn(&mut Command)) -> Relay {
        self.save();
        let socket = self.folder().join("notify.sock");
        let notify = UnixDatagram::bind(&socket).expect("a notify socket");
        let file = self.file();
        let process = Process::start("culvert", Path::new(PROGRAM), self.folder(), |command| {
            command.args(["run", "--config"]).arg(&file).env("NOTIFY_SOCKET", &socket);
            set(command);
        });
        let listening = Arc::new(());
        let notified = read_on(notify, Arc::downgrade(&listening));
        Relay {
            process,
            address: self.address,
            conf: self,
            notified: notified.into(),
            _listening: listening,
        }
    }
}

/// Reads what the relay says until nobody wants to know: a full queue would hold it up.
fn read_on(notify: UnixDatagram, wanted: Weak<()>) -> Receiver<String> {
    let (said, messages) = std::sync::mpsc::channel();
    notify.set_read_timeout(Some(millis(100))).expect("a time-out");
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while wanted.strong_count() > 0 {
            if let Ok(length) = notify.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                // nobody may be left to hear it
                let _ = said.send(text);
            }
        }
    });
    messages
}

impl Relay {
    #[track_caller]
    fn until_ready(&mut self) {
        let start = std::time::Instant::now();
        while self.notified("READY=1", millis(100)).is_none() {
            let alive = self.process.is_running();
            let waiting = alive && start.elapsed() < secs(20);
            assert!(waiting, "the relay is not ready (running: {alive}):\n{}", self.stderr());
        }
    }

    /// The next message of the service manager's protocol that holds `line`, within `limit`.
    pub fn notified(&self, line: &str, limit: Duration) -> Option<String> {
        let end = std::time::Instant::now() + limit;
        let notified = self.notified.lock().expect("no test panicked here");
        while let Some(left) = end.checked_duration_since(std::time::Instant::now()) {
            let text = notified.recv_timeout(left).ok()?;
            if text.lines().any(|l| l.starts_with(line)) {
                return Some(text);
            }
        }
        None
    }

    /// Asks over UDP with RD and an OPT of 1,232 octets.
    #[track_caller]
    pub fn ask(&self, name: &str, qtype: u16) -> Message {
        self.udp(&Query::new(name, qtype))
    }

    #[track_caller]
    pub fn udp(&self, query: &Query) -> Message {
        ask(Over::Udp, self.address, query)
    }

    #[track_caller]
    pub fn tcp(&self, query: &Query) -> Message {
        ask(Over::Tcp, self.address, query)
    }

    /// A UDP client of its own.
    pub fn client(&self) -> Udp {
        Udp::to(self.address)
    }

    /// A TCP connection of its own.
    #[track_caller]
    pub fn connect(&self) -> Tcp {
        Tcp::to(self.address)
    }

    /// What the daemon wrote on stderr so far.
    pub fn stderr(&self) -> String {
        self.process.output()
    }

    /// Waits until `text` is in what the daemon wrote on stderr, which comes through a pipe and so
    /// behind its answers; gives all of it.
    #[track_caller]
    pub fn stderr_with(&self, text: &str) -> String {
        super::eventually(&format!("stderr has {text:?}"), Duration::from_secs(5), || {
            self.stderr().contains(text)
        });
        self.stderr()
    }

    /// Runs a sub-command against this daemon; any exit status.
    #[track_caller]
    pub fn command(&self, args: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(args).arg("--config").arg(self.conf.file());
        run(&mut command, secs(20))
    }

    /// Runs a sub-command that has to succeed and returns what it printed.
    #[track_caller]
    pub fn tell(&self, args: &[&str]) -> String {
        let output = self.command(args);
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "culvert {args:?}: {}\n{out}{err}", output.status);
        out
    }

    #[track_caller]
    pub fn reload(&self) {
        self.tell(&["reload"]);
    }

    /// The daemon's own account, from the control socket.
    #[track_caller]
    pub fn status(&self) -> Value {
        let text = self.tell(&["status", "--json"]);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("status is JSON ({e}): {text}"))
    }

    /// A number in the status, by JSON pointer.
    #[track_caller]
    pub fn count(&self, pointer: &str) -> u64 {
        let status = self.status();
        let value = status.pointer(pointer).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("no number at {pointer} in {status:#}"))
    }

    /// One policy zone's entry in the status.
    #[track_caller]
    pub fn zone(&self, zone: &str) -> Value {
        let status = self.status();
        let zones = status["zones"].as_array().cloned().unwrap_or_default();
        let found = zones.into_iter().find(|z| z["zone"] == zone);
        found.unwrap_or_else(|| panic!("no zone {zone} in {status:#}"))
    }

    /// One backend's entry in the status.
    #[track_caller]
    pub fn backend(&self, address: SocketAddr) -> Value {
        let status = self.status();
        let upstreams = status["upstreams"].as_array().cloned().unwrap_or_default();
        let backends =
            upstreams.iter().flat_map(|u| u["backends"].as_array().into_iter().flatten());
        let found = backends.into_iter().find(|b| b["address"] == address.to_string()).cloned();
        found.unwrap_or_else(|| panic!("no backend {address} in {status:#}"))
    }

    /// The lines of the hit log so far.
    pub fn hit_lines(&self) -> Vec<String> {
        let bytes = std::fs::read(self.conf.hits()).unwrap_or_default();
        let text = String::from_utf8(bytes).expect("the hit log is UTF-8");
        text.lines().map(str::to_owned).collect()
    }

    /// The hit log as JSON, once it has `count` lines; more of them fail the test.
    #[track_caller]
    pub fn hits(&self, count: usize) -> Vec<Value> {
        let what = format!("{count} lines in the hit log");
        eventually(&what, secs(5), || self.hit_lines().len() >= count);
        let lines = self.hit_lines();
        assert_eq!(lines.len(), count, "{lines:#?}");
        let json = |l: &String| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"));
        lines.iter().map(json).collect()
    }

    /// The body of an HTTP GET on the status listener, with its status code.
    #[track_caller]
    pub fn http(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect_timeout(&self.conf.status, secs(5))
            .unwrap_or_else(|e| panic!("no status listener: {e}"));
        stream.set_read_timeout(Some(secs(10))).expect("a time-out can be set");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("the request is sent");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("the response ends");
        let text = String::from_utf8(bytes).expect("the response is UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let code = head.split(' ').nth(1).and_then(|c| c.parse().ok());
        (code.unwrap_or_else(|| panic!("a status line: {head}")), body.to_owned())
    }

    /// Received = answered + dropped by policy + refused + malformed, exact when quiet.
    #[track_caller]
    pub fn assert_books_balance(&self) {
        let mut last = Value::Null;
        let balanced = || {
            last = self.status()["queries"].clone();
            let part = |key: &str| last[key].as_u64().unwrap_or(0);
            let parts = ["answered", "dropped_by_policy", "refused", "malformed"];
            part("in_flight") == 0 && part("received") == parts.iter().map(|k| part(k)).sum::<u64>()
        };
        let start = std::time::Instant::now();
        let mut balanced = balanced;
        while !balanced() {
            assert!(start.elapsed() < secs(6), "the books do not balance: {last:#}");
            std::thread::sleep(millis(50));
        }
    }
}
