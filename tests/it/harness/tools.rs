//! The clients operators use: dig, kdig, dnsperf.

use super::process::run;
use super::secs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// What dig or kdig printed.
#[derive(Debug)]
pub struct Printed {
    pub text: String,
    pub status: String,
    pub flags: Vec<String>,
    /// The answer section, one line a record, blanks made single.
    pub answers: Vec<String>,
}

/// Runs `dig @server ARGS`.
#[track_caller]
pub fn dig(server: SocketAddr, args: &[&str]) -> Printed {
    ask("dig", server, &["+tries=1", "+timeout=6", "+nocookie"], args)
}

/// Runs `kdig @server ARGS`.
#[track_caller]
pub fn kdig(server: SocketAddr, args: &[&str]) -> Printed {
    ask("kdig", server, &["+retry=0", "+timeout=5"], args)
}

#[track_caller]
fn ask(program: &str, server: SocketAddr, fixed: &[&str], args: &[&str]) -> Printed {
    let mut command = Command::new(program);
    command.arg(format!("@{}", server.ip())).args(["-p", &server.port().to_string()]);
    command.args(fixed).args(args);
    let output = run(&mut command, secs(15));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let after = |from: &str, to: &[char]| {
        // kdig writes a status of HTTP first; the header of DNS is what counts.
        let (_, rest) = text.split_once("->>HEADER<<-")?.1.split_once(from)?;
        Some(rest.split(to).next()?.trim().to_owned())
    };
    let status = after("status: ", &[',', ';', '\n']).unwrap_or_default();
    let flags = after("flags: ", &[';', '\n']).or_else(|| after("Flags: ", &[';', '\n']));
    let answers = text
        .lines()
        .skip_while(|line| !line.contains("ANSWER SECTION"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let flags = flags.unwrap_or_default().split_whitespace().map(str::to_lowercase).collect();
    Printed { status, flags, answers, text }
}

/// What dnsperf counted.
#[derive(Debug, PartialEq, Eq)]
pub struct Counted {
    pub sent: u64,
    pub completed: u64,
    pub lost: u64,
    /// The line with the counts by response code.
    pub codes: String,
}

/// Sends the names of `list` once, ten clients, at a moderate rate.
#[track_caller]
pub fn dnsperf(server: SocketAddr, mode: &str, list: &Path) -> Counted {
    let mut command = Command::new("dnsperf");
    command.args(["-s", &server.ip().to_string(), "-p", &server.port().to_string()]);
    command.args(["-m", mode, "-n", "1", "-c", "10", "-q", "50", "-Q", "1500", "-t", "6"]);
    command.arg("-d").arg(list);
    let output = run(&mut command, secs(40));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |what: &str| {
        let line = text.lines().find(|l| l.trim_start().starts_with(what));
        line.map(|l| l.split_once(':').map_or("", |(_, rest)| rest).trim().to_owned())
            .unwrap_or_else(|| panic!("dnsperf printed no {what:?}:\n{text}"))
    };
    let number = |what: &str| {
        let text = line(what);
        text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(u64::MAX)
    };
    Counted {
        sent: number("Queries sent"),
        completed: number("Queries completed"),
        lost: number("Queries lost"),
        codes: line("Response codes"),
    }
}
