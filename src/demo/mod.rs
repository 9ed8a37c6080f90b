//! The demonstration: two DoH backends, a sample policy and a relay, all on loopback.
//!
//! ```text
//!   dig ─► relay (the real daemon, a configuration written for it) ─► backend 1, backend 2
//!                                                          TLS with a CA made on the fly
//! ```
//!
//! `culvert demo` runs until Ctrl-C and shows policy hits as they happen; `culvert demo --check`
//! asks its own queries over the wire and compares.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::daemon::{self, Options, journal};
use crate::report::Destination;

mod backend;
mod client;
mod names;
mod tour;

use backend::Backend;

/// Runs the demonstration; with `check`, the tour and nothing else.
pub fn main(listen: SocketAddr, check: bool) -> ExitCode {
    match prepare(listen, check) {
        Ok(stage) if check => stage.check(),
        Ok(stage) => stage.show(),
        Err(text) => {
            eprintln!("culvert demo: {text}");
            ExitCode::FAILURE
        }
    }
}

/// Everything the demonstration needs; the folder goes when it ends.
struct Stage {
    listen: SocketAddr,
    folder: PathBuf,
    backends: Vec<Arc<Backend>>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        // a folder of temporary files that stays behind does no harm
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn prepare(listen: SocketAddr, quiet: bool) -> Result<Stage, String> {
    let folder = std::env::temp_dir().join(format!("culvert-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut stage = Stage { listen, folder, backends: Vec::new() };
    let identity = backend::Identity::new().map_err(|e| format!("certificates: {e}"))?;
    for number in [1, 2] {
        let started = Backend::start(number, &identity);
        stage.backends.push(started.map_err(|e| format!("backend {number}: {e}"))?);
    }
    let addresses = stage.backends.iter().map(|b| b.address());
    let addresses: Vec<String> = addresses.map(|a| format!("\"{a}\"")).collect();
    let files = [
        ("ca.pem", identity.ca_pem().to_owned()),
        ("sample.rpz", names::SAMPLE_ZONE.to_owned()),
        ("watch.rpz", names::WATCH_ZONE.to_owned()),
        ("culvert.toml", names::config(listen, &addresses.join(", "), quiet)),
    ];
    for (name, text) in files {
        let path = stage.folder.join(name);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(stage)
}

impl Stage {
    /// Asks the tour's queries, prints expected and got.
    fn check(self) -> ExitCode {
        let (end, stop) = watch::channel(false);
        let options = Options {
            config: self.folder.join("culvert.toml"),
            hits: Some(Destination::File(self.folder.join("hits.json"))),
        };
        let relay = std::thread::spawn(move || daemon::run(options, stop));
        let outcome = if wait_for(self.listen) {
            Some(tour::walk(self.listen, &self.backends))
        } else {
            None
        };
        let _ = end.send(true);
        match relay.join() {
            Ok(Ok(())) => {}
            Ok(Err(trouble)) => {
                eprintln!("culvert demo: {trouble}");
                return ExitCode::FAILURE;
            }
            Err(_) => return ExitCode::FAILURE,
        }
        match outcome {
            Some(0) => ExitCode::SUCCESS,
            Some(_) => ExitCode::FAILURE,
            None => {
                eprintln!("culvert demo: the relay did not answer on {}", self.listen);
                ExitCode::FAILURE
            }
        }
    }

    /// Runs until Ctrl-C.
    fn show(self) -> ExitCode {
        let _written_at_the_end = journal::begin();
        let (_never, stop) = watch::channel(false);
        let config = self.folder.join("culvert.toml");
        let options = Options { config: config.clone(), hits: Some(Destination::Stdout) };
        let (listen, backends) = (self.listen, self.backends.clone());
        std::thread::spawn(move || {
            if wait_for(listen) {
                say(&tour::invitation(listen, &config));
                switch_backends(&backends);
            }
        });
        match daemon::run(options, stop) {
            Ok(()) => ExitCode::SUCCESS,
            Err(trouble) => {
                eprintln!("culvert demo: {trouble}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Waits until the relay answers a local name.
fn wait_for(relay: SocketAddr) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if client::ask_once(relay, "localhost", "A", Duration::from_millis(200)).is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// Lines of the keyboard: `1` or `2` stops that backend, or starts it again.
fn switch_backends(backends: &[Arc<Backend>]) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let number = line.trim().parse::<usize>().ok().and_then(|n| n.checked_sub(1));
        let Some(backend) = number.and_then(|i| backends.get(i)) else { continue };
        let runs = !backend.runs();
        backend.set_running(runs);
        let what = if runs { "runs again" } else { "is stopped" };
        say(&format!("-- backend {} {what}\n", line.trim()));
    }
}

/// Prints; a terminal that went away is no fault of ours.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
