//! `culvert init`: what it asks, writes, refuses and finds out about the service.

use crate::harness::backend::{Backend, PATH};
use crate::harness::conf::Conf;
use crate::harness::process::{LOCAL, free_port};
use crate::harness::relay::PROGRAM;
use crate::harness::script::Script;
use crate::harness::stage::assert_right;
use crate::harness::tls::{HOST, Shown, Tls};
use crate::harness::wire::A;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A configuration that knows no good service yet, and one that it could have.
struct Site {
    conf: Conf,
    backend: Backend,
    tls: Tls,
}

impl Site {
    fn new() -> Site {
        let tls = Tls::new();
        let backend = Backend::start(&tls);
        let conf = Conf::new().plain("service", &[free_port(LOCAL)]);
        conf.save();
        Site { conf, backend, tls }
    }

    fn file(&self) -> PathBuf {
        self.conf.folder().join("culvert.d/10-site.toml")
    }

    fn url(&self) -> String {
        format!("https://{HOST}:{}{PATH}", self.backend.address.port())
    }

    /// The flags that name the configuration and, if no other is named, the service's CA.
    fn flags(&self, more: &[&str]) -> Vec<String> {
        let ca = self.tls.ca().display().to_string();
        let config = self.conf.file().display().to_string();
        let mut flags = vec!["init".to_owned(), "--config".to_owned(), config];
        if !more.contains(&"--ca") {
            flags.extend(["--ca".to_owned(), ca]);
        }
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        flags
    }

    /// Runs `culvert init` without a terminal.
    #[track_caller]
    fn init(&self, more: &[&str], input: &str) -> (i32, String) {
        let mut command = Command::new("timeout");
        command.args(["30", PROGRAM]).args(self.flags(more));
        told(&mut command, input)
    }

    /// The same on a terminal, where somebody types.
    #[track_caller]
    fn on_terminal(&self, more: &[&str], typed: &str) -> (i32, String) {
        let line = std::iter::once(PROGRAM.to_owned()).chain(self.flags(more));
        let line: Vec<String> = line.map(|word| format!("'{word}'")).collect();
        let mut command = Command::new("timeout");
        command.args(["30", "script", "-qec", &line.join(" "), "/dev/null"]);
        told(&mut command, typed)
    }
}

/// Runs a command with this on its standard input: exit code and all it printed.
#[track_caller]
fn told(command: &mut Command, input: &str) -> (i32, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    // one that asks nothing may have ended before
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let [out, err] = [stdout, stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
    (status.code().expect("it ends by itself"), out + &err)
}

#[test]
fn flags_make_a_file_that_the_relay_serves_from() {
    let site = Site::new();
    let url = site.url();
    let flags = [
        "--url",
        &url,
        "--address",
        "127.0.0.1",
        "--network",
        "10.1.0.0/16",
        "--network",
        "onlink",
    ];
    let (code, out) = site.init(&flags, "");
    assert_eq!(code, 0, "{out}");
    assert!(out.starts_with(&format!("{}: written\n", site.file().display())), "{out}");
    assert!(out.contains(&format!("\n  {}: answers, ", site.backend.address)), "{out}");
    assert!(out.contains(&format!("culvert check --config {}", site.conf.file().display())));
    assert!(out.contains("systemctl reload culvert\n") && out.contains("dig @127.0.0.1"), "{out}");
    assert!(!out.contains(PATH) && !out.contains("secret-org"), "{out}");
    assert!(out.lines().all(|l| l.len() <= 80 || l.contains("culvert.")), "{out}");

    let (made, main) =
        (fs::metadata(site.file()).unwrap(), fs::metadata(site.conf.file()).unwrap());
    assert_eq!((made.mode() & 0o7777, made.gid()), (0o640, main.gid()));
    let left: Vec<_> = fs::read_dir(site.conf.folder().join("culvert.d")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    let text = fs::read_to_string(site.file()).unwrap();
    let allow = "allow = [\"127.0.0.0/8\", \"::1\", \"10.1.0.0/16\", \"onlink\"]\n";
    assert!(text.contains(allow), "{text}");

    let Site { conf, backend, tls: _tls } = site;
    let relay = conf.start();
    assert_right(&relay.ask("www.example.com", A), "www.example.com");
    assert_eq!(backend.asked("www.example.com"), 1);
}

#[test]
fn what_is_there_is_replaced_by_force_only() {
    let site = Site::new();
    let url = site.url();
    let flags = ["--url", &url, "--address", "127.0.0.1", "--no-probe"];
    assert_eq!(site.init(&flags, "").0, 0);
    let before = fs::read_to_string(site.file()).unwrap();
    let other = ["--url", "-", "--address", "127.0.0.2", "--no-probe"];
    let (code, out) = site.init(&other, &url);
    assert_eq!(code, 1, "{out}");
    let host = format!("  https://{HOST}:{}/...\n  at 127.0.0.1\n", site.backend.address.port());
    assert!(out.contains("is there already and holds\n") && out.contains(&host), "{out}");
    assert!(out.contains("--force") && !out.contains(PATH), "{out}");
    assert_eq!(fs::read_to_string(site.file()).unwrap(), before);

    let (code, out) = site.init(&[&other[..], &["--force"]].concat(), &format!("{url}\nmore\n"));
    assert_eq!(code, 0, "{out}");
    let expected = before.replace("127.0.0.1", "127.0.0.2");
    assert_eq!(fs::read_to_string(site.file()).unwrap(), expected);
}

#[test]
fn nothing_is_written_where_something_is_wrong() {
    let site = Site::new();
    let url = site.url();
    let port = site.conf.address;
    let own = port.to_string();
    for (flags, code, word) in [
        (&[][..], 2, "--url is missing"),
        (&["--yes"], 2, "--url is missing"),
        (&["--url", "http://h.example/secret-org"], 1, "--url: plain http"),
        (&["--url", &url, "--address", "h.example"], 1, "--address: \"h.example\" is not"),
        (&["--url", &url, "--address", "127.0.0.1", "--network", "10.1.1.1/8"], 1, "--network: "),
        (&["--url", &url, "--address", &own], 78, "upstream[].addresses: this is one of our own"),
        (&["--url", &url, "--address", "127.0.0.1", "--network", "any"], 78, "allow_any"),
    ] {
        let (found, out) = site.init(flags, "");
        assert_eq!(found, code, "{flags:?}: {out}");
        assert!(out.contains(word) && out.ends_with("nothing was written\n"), "{flags:?}: {out}");
        assert!(!out.contains("secret-org"), "{out}");
        assert!(!site.file().exists(), "{flags:?}");
    }
    let text = site.conf.text().replace("\"service\"", "\"other\"");
    fs::write(site.conf.file(), text).unwrap();
    let (code, out) = site.init(&["--url", &url, "--address", "127.0.0.1"], "");
    assert!(code == 78 && out.contains("the first [[upstream]] is named \"other\""), "{out}");
    assert!(!site.file().exists());
    site.conf.save();
    let bad = site.conf.folder().join("bad.pem").display().to_string();
    fs::write(&bad, "no certificate").unwrap();
    let (code, out) = site.init(&["--url", &url, "--address", "127.0.0.1", "--ca", &bad], "");
    assert!(code == 78 && out.contains(&bad) && !site.file().exists(), "{out}");
    fs::write(site.conf.file(), "[server]\nworkrs = 1\n").unwrap();
    let (code, out) = site.init(&["--url", &url, "--address", "127.0.0.1"], "");
    assert!(code == 78 && out.contains("culvert.toml:2:1: server.workrs: unknown"), "{out}");
    assert!(!site.file().exists());
}

#[test]
fn a_service_that_does_not_answer_is_told_and_the_file_stays() {
    let site = Site::new();
    let url = site.url();
    let flags = ["--url", &url, "--address", "127.0.0.1", "--address", "127.0.0.9", "--force"];
    let (code, out) = site.init(&flags, "");
    assert_eq!(code, 69, "{out}");
    let port = site.backend.address.port();
    assert!(out.contains(&format!("  127.0.0.1:{port}: answers, ")), "{out}");
    assert!(out.contains(&format!("  127.0.0.9:{port}: FAILED: ")), "{out}");
    assert!(out.contains("\n1 of 2 did not answer") && out.contains("init --force"), "{out}");
    assert!(site.file().exists());

    site.backend.show(&site.tls, Shown::WrongName);
    let (code, out) = site.init(&[&flags[..4], &["--force"]].concat(), "");
    assert!(code == 69 && out.contains("FAILED: ") && out.contains("certificate"), "{out}");
    site.backend.show(&site.tls, Shown::Right);
    site.backend.set(Script::Status(404, Vec::new()));
    let (code, out) = site.init(&[&flags[..4], &["--force"]].concat(), "");
    assert!(code == 69 && out.contains("404") && !out.contains("secret-org"), "{out}");
}

#[test]
fn the_host_is_looked_up_if_no_address_is_given() {
    let site = Site::new();
    let url = site.url().replace(HOST, "localhost");
    let (code, out) = site.init(&["--url", &url, "--no-probe"], "");
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("localhost was looked up once: ") && out.contains("127.0.0.1"), "{out}");
    let text = fs::read_to_string(site.file()).unwrap();
    assert!(text.contains("addresses = [") && text.contains("\"127.0.0.1\""), "{text}");
}

#[test]
fn somebody_at_a_terminal_is_asked() {
    let site = Site::new();
    let url = site.url();
    // a slip of the pen is told and asked again
    let typed =
        format!("http://{HOST}/\n{url}\n127.0.0.\n127.0.0.1\n10.1.0.0/16, 10.2.0.0/16\ny\n");
    let (code, out) = site.on_terminal(&[], &typed);
    assert_eq!(code, 0, "{out}");
    for word in ["URL: ", "plain http", "Addresses", "not an IP address", "Networks", "[Y/n]"] {
        assert!(out.contains(word), "{word}: {out}");
    }
    // here nothing typed ends the line of a prompt, which may have twelve octets
    let short = |line: &str| line.len() <= 80 + 12 || line.contains("culvert.");
    assert_eq!(out.lines().find(|line| !short(line) && !line.contains(HOST)), None);
    // the terminal itself shows what is typed, here before anything is asked
    let said = out.split_once("Write it?").expect("the last question").1;
    assert!(said.contains(": answers, ") && !said.contains(PATH), "{out}");
    let summary = out.split_once("This goes into").expect("a summary").1;
    assert!(summary.contains(HOST) && !summary.contains(PATH), "{out}");
    let text = fs::read_to_string(site.file()).unwrap();
    assert!(text.contains("\"::1\", \"10.1.0.0/16\", \"10.2.0.0/16\"]"), "{text}");
    assert!(text.contains(PATH), "{text}");

    let (code, out) = site.on_terminal(&["--force"], &format!("{url}\n127.0.0.2\n\nn\n"));
    assert!(code == 1 && out.contains("nothing was written"), "{out}");
    assert_eq!(fs::read_to_string(site.file()).unwrap(), text);
}
