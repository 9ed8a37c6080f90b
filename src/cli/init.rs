//! `culvert init`: asks for what only the operator knows, and writes it beside the configuration.
//!
//! ```text
//!  flags, questions ─► Site ─► load_with: any faults? ─► file in place ─► asks each address once
//! ```

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::{
    DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown,
};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;

use super::{CONFIG, Config, EXIT_CONFIG, exit_code, print};
use crate::admin::render;
use crate::config::site::{self, Held, Site};
use crate::config::{self, Draft, Secret, Settings};
use crate::daemon::{self, Trouble};
use crate::dns::rcode;
use crate::limits;
use crate::upstream::ProbeReport;

mod questions;

use questions::{ask, ask_list, line, yes};

/// Exit code for flags that are missing, as for those that are wrong.
const EXIT_USAGE: u8 = 2;
/// Exit code if the file is written, but the service does not answer (sysexits.h:
/// EX_UNAVAILABLE).
const EXIT_UNAVAILABLE: u8 = 69;
/// Mode of the file: it holds the secret that names the operator's account.
const FILE_MODE: u32 = 0o640;
/// Mode of the folder of drop-ins, if it has to be made.
const FOLDER_MODE: u32 = 0o750;

#[derive(clap::Args)]
pub(super) struct Init {
    /// URL of the service, https; "-" reads it from standard input. Its path is a secret, and
    /// other users see a command line: better let yourself be asked
    #[arg(long)]
    url: Option<String>,
    /// Address of the service, IP or IP:PORT; may be repeated. Without it the URL's host is
    /// looked up once
    #[arg(long, value_name = "IP")]
    address: Vec<String>,
    /// Network to serve; may be repeated. Without it: private networks, and the IPv6 prefixes
    /// of our own interfaces
    #[arg(long, value_name = "NETWORK")]
    network: Vec<String>,
    /// PEM file of the roots that the service's certificate must come from, if not the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Where to listen, if not where the configuration says; may be repeated
    #[arg(long, value_name = "IP:PORT")]
    listen: Vec<String>,
    /// Ask nothing, take what would be offered
    #[arg(long)]
    yes: bool,
    /// Replace what an earlier run wrote
    #[arg(long)]
    force: bool,
    /// Do not ask the service whether it answers
    #[arg(long)]
    no_probe: bool,
    #[command(flatten)]
    config: Config,
}

/// Why nothing was written.
struct Refusal {
    code: u8,
    text: String,
}

impl From<String> for Refusal {
    fn from(text: String) -> Refusal {
        Refusal { code: 1, text }
    }
}

impl From<Trouble> for Refusal {
    fn from(trouble: Trouble) -> Refusal {
        let code = if matches!(trouble, Trouble::System(_)) { 1 } else { EXIT_CONFIG };
        Refusal { code, text: trouble.to_string() }
    }
}

impl Init {
    pub(super) fn run(self) -> ExitCode {
        match self.write() {
            Ok(settings) if self.no_probe => {
                drop(settings);
                print(&self.next());
                ExitCode::SUCCESS
            }
            Ok(settings) => self.probe(settings),
            Err(Refusal { code, text }) => {
                let gap = if text.is_empty() { "" } else { "\n" };
                eprintln!("{text}{gap}nothing was written");
                ExitCode::from(code)
            }
        }
    }

    /// Finds out everything, checks it and writes the file; gives the settings as they are now.
    fn write(&self) -> Result<Settings, Refusal> {
        let main = &self.config.config;
        let file = config::drop_in_folder(main).join(Site::FILE);
        if !self.force && fs::symlink_metadata(&file).is_ok() {
            return Err(already(&file, site::held(&file)).into());
        }
        if config::is_forbidden(main) {
            return Err(format!(
                "{} may not be read by this user: run this as root",
                main.display()
            )
            .into());
        }
        let interactive = !self.yes && io::stdin().is_terminal();
        let site = self.site(interactive)?;
        let text = site.text();
        let draft = Draft { name: Site::FILE, text: &text };
        let settings = config::load_with(main, draft).map_err(Trouble::Config)?;
        daemon::judge(&settings)?;
        if let Some(other) = settings.upstreams.first().filter(|first| first.name != Site::UPSTREAM)
        {
            let text = format!(
                "the first [[upstream]] is named \"{}\", so yours would be the second one and \
                 hardly asked:\nname that one \"{}\", then this one takes its place",
                other.name,
                Site::UPSTREAM
            );
            return Err(Refusal { code: EXIT_CONFIG, text });
        }
        if interactive {
            print(&format!("\nThis goes into {}:\n{}", file.display(), summary(&site)));
            if !yes("Write it?")? {
                return Err(String::new().into());
            }
        }
        let remark = put(main, &file, &text)?;
        print(&format!("{}: written{remark}\n", file.display()));
        Ok(settings)
    }

    /// What was given by flags, the rest by questions or as it would be offered.
    fn site(&self, interactive: bool) -> Result<Site, Refusal> {
        self.refuse_bad_flags()?;
        let url = match self.url.as_deref() {
            Some("-") => line()?,
            Some(url) => url.to_owned(),
            None if interactive => {
                ask(questions::URL, None, |text| site::service_host(text).map(drop))?
            }
            None => return Err(missing()),
        };
        let (host, port) = site::service_host(&url).map_err(|e| format!("--url: {e}"))?;
        let addresses = match self.address.is_empty() {
            false => self.address.clone(),
            true => addresses(&host, port, interactive)?,
        };
        let networks = match self.network.is_empty() && interactive {
            false => self.network.clone(),
            true => ask_list(questions::NETWORKS, "", 0, site::check_network)?,
        };
        let ca = self.ca.as_ref().map(std::path::absolute).transpose();
        let ca = ca.map_err(|e| format!("--ca: {e}"))?;
        let url = Secret::new(url);
        Ok(Site { url, addresses, networks, ca, listen: self.listen.clone() })
    }

    fn refuse_bad_flags(&self) -> Result<(), String> {
        type Check = fn(&str) -> Result<(), String>;
        let flags: [(&str, &[String], Check); 3] = [
            ("--address", &self.address, site::check_address),
            ("--network", &self.network, site::check_network),
            ("--listen", &self.listen, site::check_listen),
        ];
        for (flag, texts, check) in flags {
            for text in texts {
                check(text).map_err(|e| format!("{flag}: {e}"))?;
            }
        }
        Ok(())
    }

    /// Asks each address of the service once and tells what to do next.
    fn probe(&self, settings: Settings) -> ExitCode {
        print("\nAsking each address of the service once:\n");
        let reports = match daemon::probe(settings, Site::UPSTREAM) {
            Ok(reports) => reports,
            Err(trouble) => {
                eprintln!("{trouble}");
                return exit_code(&trouble);
            }
        };
        let faults: Vec<Option<String>> = reports.iter().map(fault).collect();
        for (report, fault) in reports.iter().zip(&faults) {
            let words = match fault {
                Some(fault) => format!("FAILED: {fault}"),
                None => format!("answers, {:.1} ms", report.total_ms),
            };
            let mut line = String::new();
            render::indented(&mut line, 2, &format!("{}: {words}", report.address));
            print(&line);
        }
        let failed = faults.iter().flatten().count();
        if failed == 0 && !reports.is_empty() {
            print(&self.next());
            return ExitCode::SUCCESS;
        }
        print(&format!(
            "\n{failed} of {} did not answer as they should. The file stays as it is. Correct \
             it with\n  culvert init --force{}\nor, if it is the network between, carry on.\n{}",
            reports.len(),
            self.config_flag(),
            self.next()
        ));
        ExitCode::from(EXIT_UNAVAILABLE)
    }

    /// The flag that names the configuration, if it is not the usual one.
    fn config_flag(&self) -> String {
        let config = &self.config.config;
        match config == Path::new(CONFIG) {
            true => String::new(),
            false => format!(" --config {}", config.display()),
        }
    }

    /// The commands that come after this one.
    fn next(&self) -> String {
        let config = self.config_flag();
        format!(
            "\nNext:\n  culvert check{config}\n  systemctl reload culvert\n  \
             dig @127.0.0.1 example.com\n"
        )
    }
}

fn missing() -> Refusal {
    let text = "--url is missing: the URL of the service; --address (its addresses) and \
                --network\n(networks to serve) may go with it. On a terminal they are asked for";
    Refusal { code: EXIT_USAGE, text: text.to_owned() }
}

/// What to say about a file that is there.
fn already(file: &Path, held: Option<Held>) -> String {
    let file = file.display();
    let holds = match held {
        Some(Held { url, addresses }) => {
            format!(" and holds\n  {url}\n  at {}", addresses.join(", "))
        }
        None => String::new(),
    };
    format!("{file} is there already{holds}\nWith --force it is replaced.")
}

/// What is about to be written, without the secret.
fn summary(site: &Site) -> String {
    let host = site::service_host(site.url.expose()).map_or_else(|_| String::new(), |(h, _)| h);
    let networks = match site.networks.is_empty() {
        true => "private ones and our own links".to_owned(),
        false => site.networks.join(", "),
    };
    let addresses = site.addresses.join(", ");
    format!(
        "  service    {host}, its path is kept secret\n  addresses  {addresses}\n  \
         networks   {networks}\n"
    )
}

/// The addresses of the service: as the system's resolver knows them, or as the operator says.
fn addresses(host: &str, port: u16, interactive: bool) -> Result<Vec<String>, Refusal> {
    let found = look_up(host, port);
    if interactive {
        let offered = found.unwrap_or_else(|e| {
            let mut told = String::from("\n");
            render::indented(&mut told, 0, &format!("({host} cannot be looked up: {e})"));
            print(&told);
            Vec::new()
        });
        let offered = offered.join(", ");
        return Ok(ask_list(questions::ADDRESSES, &offered, 1, site::check_address)?);
    }
    match found {
        Ok(found) => {
            print(&format!("{host} was looked up once: {}\n", found.join(", ")));
            Ok(found)
        }
        Err(e) => {
            let text = format!("--address is missing, and {host} cannot be looked up: {e}");
            Err(Refusal { code: EXIT_USAGE, text })
        }
    }
}

/// Looks a host up, on a thread that is left behind if the system's resolver takes too long.
fn look_up(host: &str, port: u16) -> Result<Vec<String>, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![ip.to_string()]);
    }
    let (found, waiting) = mpsc::channel();
    let place = (host.to_owned(), port);
    std::thread::spawn(move || {
        let sockets = place.to_socket_addrs().map(|sockets| sockets.collect::<Vec<_>>());
        // nobody waits any more after the deadline
        let _ = found.send(sockets);
    });
    let sockets = waiting.recv_timeout(limits::INIT_LOOKUP).map_err(|_| "no answer came")?;
    let mut found = Vec::new();
    for socket in sockets.map_err(|e| e.to_string())? {
        let ip = socket.ip().to_string();
        if !found.contains(&ip) {
            found.push(ip);
        }
    }
    if found.is_empty() { Err("it has no address".to_owned()) } else { Ok(found) }
}

/// What is wrong with one address of the service.
fn fault(report: &ProbeReport) -> Option<String> {
    let code = report.rcode.clone().filter(|code| *code != rcode::text(rcode::NOERROR));
    report.error.clone().or_else(|| code.map(|code| format!("answers with {code}")))
}

/// Puts the file into its place, whole or not at all; gives a remark about its group.
fn put(main: &Path, file: &Path, text: &str) -> Result<&'static str, String> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    let failed = |path: &Path, e: io::Error| format!("{}: {e}", path.display());
    let group = fs::metadata(main).map_err(|e| failed(main, e))?.gid();
    if !folder.exists() {
        fs::DirBuilder::new().mode(FOLDER_MODE).create(folder).map_err(|e| failed(folder, e))?;
        // the mode that was asked for lacks what the umask takes away
        let mode = Permissions::from_mode(FOLDER_MODE);
        fs::set_permissions(folder, mode).map_err(|e| failed(folder, e))?;
        // without the group the relay cannot read it: told below, since the file has that too
        let _ = chown(folder, None, Some(group));
    }
    // a drop-in with a name like this is not read
    let fresh = folder.join(format!(".{}.{}.new", Site::FILE, std::process::id()));
    let written = fill(&fresh, text, group).map_err(|e| failed(&fresh, e));
    let renamed = written.and_then(|remark| {
        fs::rename(&fresh, file).map_err(|e| failed(file, e))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| failed(folder, e))?;
        Ok(remark)
    });
    if renamed.is_err() {
        // the reason is told; what cannot be removed has a name that tells what it is
        let _ = fs::remove_file(&fresh);
    }
    renamed
}

fn fill(fresh: &Path, text: &str, group: u32) -> io::Result<&'static str> {
    let mut out = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(fresh)?;
    let owned = fchown(&out, None, Some(group));
    out.set_permissions(Permissions::from_mode(FILE_MODE))?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    Ok(match owned {
        Ok(()) => "",
        Err(_) => {
            ", but not with the group of the main file: this user\nmay not give it away, so chgrp \
             it (and its folder) by hand"
        }
    })
}
