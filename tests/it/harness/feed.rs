//! Zones from elsewhere in tests: their records, their place in the configuration, and the end
//! and new start of the relay that keeps their copies.

use super::client::Udp;
use super::conf::{Conf, list};
use super::relay::Relay;
use super::tls::Tls;
use super::web::Web;
use super::wire::{A, CNAME, Message, Query, Record};
use super::{eventually, millis, secs};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// The longest that anything here may take on a busy machine.
pub const LONG: Duration = secs(30);

/// A rule of a zone that makes `trigger` NXDOMAIN.
pub fn block(zone: &str, trigger: &str) -> Record {
    Record::new(&format!("{trigger}.{zone}"), 300, CNAME, vec![0])
}

/// Rules that make these triggers NXDOMAIN.
pub fn blocks(zone: &str, triggers: &[&str]) -> Vec<Record> {
    triggers.iter().map(|trigger| block(zone, trigger)).collect()
}

/// So many rules over names that no test asks for.
pub fn many(zone: &str, count: usize) -> Vec<Record> {
    (0..count).map(|n| block(zone, &format!("n{n}.filler.example"))).collect()
}

impl Conf {
    /// Adds a policy zone that is transferred, with more lines in its `[[policy]]` table.
    pub fn transferred(self, zone: &str, primary: SocketAddr, lines: &str) -> Conf {
        let primaries = list(&[primary]);
        self.with(&format!("[[policy]]\nzone = \"{zone}\"\nprimaries = {primaries}\n{lines}"))
    }

    /// Adds a policy zone that is downloaded, with more lines in its `[[policy]]` table.
    pub fn downloaded(self, zone: &str, web: &Web, tls: &Tls, path: &str, lines: &str) -> Conf {
        let (url, addresses, ca) = (web.url(path), list(&[web.address]), tls.ca());
        self.with(&format!(
            "[[policy]]\nzone = \"{zone}\"\nurl = \"{url}\"\naddresses = {addresses}\n\
             ca = \"{}\"\n{lines}",
            ca.display()
        ))
    }

    /// Where a zone's last good copy is.
    pub fn copy_of(&self, zone: &str) -> PathBuf {
        self.folder().join("state/zones").join(format!("{zone}.zone"))
    }
}

/// Says of a file that its source was last heard so long ago.
pub fn last_heard(copy: &Path, ago: Duration) {
    let file = std::fs::File::open(copy).expect("a saved copy");
    file.set_modified(SystemTime::now() - ago).expect("a file's time can be set");
}

impl Relay {
    /// Has a zone's source asked, and gives what came of it.
    #[track_caller]
    pub fn refresh(&self, zone: &str) -> String {
        self.tell(&["zone", "refresh", zone])
    }

    /// Has a zone's source asked, which has to fail, and gives the reason.
    #[track_caller]
    pub fn refresh_fails(&self, zone: &str) -> String {
        self.refused(&["zone", "refresh", zone])
    }

    /// What a command that has to fail says.
    #[track_caller]
    pub fn refused(&self, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command(args);
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        assert!(!status.success(), "{args:?} has to fail: {}", text(&stdout));
        text(&stderr)
    }

    /// A command with `--json`, which has to succeed.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let text = self.tell(&[args, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?} is JSON ({e}): {text}"))
    }

    /// A zone's state in one word.
    #[track_caller]
    pub fn state_of(&self, zone: &str) -> String {
        self.zone(zone)["state"].as_str().expect("a state").to_owned()
    }

    /// A zone's serial.
    #[track_caller]
    pub fn serial_of(&self, zone: &str) -> u64 {
        self.zone(zone)["serial"].as_u64().expect("a serial")
    }

    /// What is wrong with a zone, in one text.
    #[track_caller]
    pub fn alarms_of(&self, zone: &str) -> String {
        let alarms = self.zone(zone)["alarms"].as_array().cloned().expect("alarms");
        alarms.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
    }

    /// `culvert zones` on one line, however it was wrapped.
    #[track_caller]
    pub fn zones_told(&self) -> String {
        in_one_line(&self.tell(&["zones"]))
    }

    /// A number of the metrics about a zone; its absence fails the test.
    #[track_caller]
    pub fn metric(&self, metric: &str, zone: &str) -> i64 {
        let text = self.http("/metrics").1;
        let start = format!("culvert_{metric}{{zone=\"{zone}\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok());
        value.unwrap_or_else(|| panic!("no {start} in {text}"))
    }

    /// Whether a query for this name's address is blocked; anything else has to be the truth.
    #[track_caller]
    pub fn blocks(&self, name: &str) -> bool {
        is_block(name, &self.ask(name, A))
    }

    #[track_caller]
    pub fn until_blocks(&self, name: &str) {
        eventually(&format!("{name} is blocked"), LONG, || self.ask(name, A).rcode() == "NXDOMAIN");
    }

    /// Waits until what is in force of a zone is on the disk.
    #[track_caller]
    pub fn until_saved(&self, zone: &str) {
        eventually(&format!("{zone} is saved"), LONG, || {
            self.zone(zone)["supply"]["saved"].is_string()
        });
    }

    /// The owners of a zone's NXDOMAIN rules by its dump, sorted.
    #[track_caller]
    pub fn blocked_by(&self, zone: &str) -> Vec<String> {
        let text = self.tell(&["zone", "dump", zone]);
        let owners = text.lines().filter_map(|line| line.strip_suffix(" CNAME ."));
        let owners = owners.filter_map(|owner| owner.split(' ').next());
        let mut owners: Vec<String> = owners.map(str::to_owned).collect();
        owners.sort_unstable();
        owners
    }

    /// Ends the process at once; what it leaves is for the next start.
    #[track_caller]
    pub fn killed(self) -> Conf {
        self.ended("KILL")
    }

    /// Ends the process as a service manager does.
    #[track_caller]
    pub fn stopped(self) -> Conf {
        self.ended("TERM")
    }

    #[track_caller]
    fn ended(self, signal: &str) -> Conf {
        let Relay { mut process, conf, .. } = self;
        process.signal(signal);
        let status = process.wait(LONG);
        assert_eq!(status.success(), signal == "TERM", "{status}: {}", process.output());
        std::fs::remove_file(conf.folder().join("notify.sock")).expect("the old socket goes");
        conf
    }
}

/// A text without its line breaks and indents.
pub fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether an answer is a block; anything else has to be the truth.
#[track_caller]
pub fn is_block(name: &str, reply: &Message) -> bool {
    match reply.rcode() {
        "NXDOMAIN" => true,
        _ => {
            super::stage::assert_right(reply, name);
            false
        }
    }
}

/// A client that asks for a name again and again, from before there is anybody to answer.
pub struct Early {
    stop: Arc<AtomicBool>,
    asking: Option<std::thread::JoinHandle<Vec<Message>>>,
}

impl Early {
    pub fn asking(server: SocketAddr, name: &str) -> Early {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, query) = (stop.clone(), Query::new(name, A));
        let asking = std::thread::spawn(move || {
            let (mut answers, start) = (Vec::new(), Instant::now());
            while !stopped.load(Ordering::SeqCst) || answers.is_empty() && start.elapsed() < LONG {
                let client = Udp::to(server);
                client.send(&query.bytes());
                if let Some(bytes) = client.receive(millis(20)) {
                    answers.push(Message::read(&bytes).expect("an answer is a message"));
                }
            }
            answers
        });
        Early { stop, asking: Some(asking) }
    }

    /// All answers since the first, in their order; fails the test if there was none.
    #[track_caller]
    pub fn answers(mut self) -> Vec<Message> {
        self.stop.store(true, Ordering::SeqCst);
        let asking = self.asking.take().expect("it asks");
        let answers = asking.join().expect("the client ends");
        assert!(!answers.is_empty(), "the relay answered");
        answers
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}
