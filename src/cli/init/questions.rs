//! Questions on a terminal, and the answers.

use std::io::{BufRead, Read, Write, stdin, stdout};

use crate::admin::render;
use crate::limits;

pub(super) const URL: &str = "\
The service that answers, over HTTPS: the whole URL, https://HOST/PATH.
Its path is a secret; it is shown nowhere after this.
URL";
pub(super) const ADDRESSES: &str = "
The service's IP addresses, with commas between: the relay never looks its
service up.
Addresses";
pub(super) const NETWORKS: &str = "
The networks to serve, IPv4 and IPv6, with commas between; \"onlink\" stands for
the IPv6 prefixes of our own interfaces. Nothing: private networks (10.0.0.0/8,
172.16.0.0/12, 192.168.0.0/16, fc00::/7 and link-local ones) and onlink.
Networks";

/// Asks until the answer is good; what is explained above the question's last line is said once.
pub(super) fn ask(
    question: &str,
    offered: Option<&str>,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<String, String> {
    let offer = offered.map_or(String::new(), |offered| format!(" [{offered}]"));
    let (_, short) = question.rsplit_once('\n').unwrap_or(("", question));
    let mut question = question;
    loop {
        say(&format!("{question}{offer}: "));
        question = short;
        let mut answer = line()?;
        if answer.is_empty() {
            answer = offered.unwrap_or_default().to_owned();
        }
        match check(&answer) {
            Ok(()) => return Ok(answer),
            Err(fault) => {
                let mut told = String::new();
                render::indented(&mut told, 2, &fault);
                say(&told);
            }
        }
    }
}

/// Asks for a list of at least `min` entries, each of which must be good.
pub(super) fn ask_list(
    question: &str,
    offered: &str,
    min: usize,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<Vec<String>, String> {
    let entries = |text: &str| {
        let entries = text.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(str::to_owned).collect::<Vec<_>>()
    };
    let offered = Some(offered).filter(|offered| !offered.is_empty());
    let answer = ask(question, offered, |text| match entries(text) {
        few if few.len() < min => Err("this is needed".to_owned()),
        entries => entries.iter().try_for_each(|entry| check(entry)),
    })?;
    Ok(entries(&answer))
}

/// Asks a question that Enter says yes to.
pub(super) fn yes(question: &str) -> Result<bool, String> {
    say(&format!("{question} [Y/n]: "));
    Ok(matches!(line()?.to_ascii_lowercase().as_str(), "" | "y" | "yes"))
}

/// The next line of standard input without blanks around it.
pub(super) fn line() -> Result<String, String> {
    let mut line = String::new();
    let read = stdin().lock().take(limits::INIT_LINE).read_line(&mut line);
    match read.map_err(|e| format!("standard input: {e}"))? {
        0 => Err("\nstandard input has ended".to_owned()),
        _ => Ok(line.trim().to_owned()),
    }
}

/// Prints without waiting for the end of a line.
fn say(text: &str) {
    // without a reader nobody answers either
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
