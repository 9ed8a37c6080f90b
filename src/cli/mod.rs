//! The command line: one command does one job; no decisions of its own.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::admin::control;
use crate::admin::{Request, render, zones as zone_replies};
use crate::config;
use crate::daemon::{self, Options, Trouble, journal};
use crate::demo;
use crate::policy::exceptions::Verdict;
use crate::sys::accounts;

mod exceptions;
mod explain;
mod health;
mod init;
mod pair;
mod query;
mod resolver;
mod show;
mod zone_check;
mod zones;

/// Exit code for faults of the configuration or the zones (sysexits.h: EX_CONFIG).
const EXIT_CONFIG: u8 = 78;
/// Where the package installs the configuration.
const CONFIG: &str = "/etc/culvert/culvert.toml";
/// The relay's user, as the package makes it.
const USER: &str = "_culvert";

#[derive(Parser)]
#[command(
    name = "culvert",
    version = daemon::version(),
    about = "DNS relay: forwards over DNS-over-HTTPS, enforces Response Policy Zones",
    max_term_width = 80,
    after_help = "Exit status: 0 done, 78 faults in the configuration or the zones, 2 a wrong\n\
                  command line, 1 anything else. The manual: culvert(8), culvert.toml(5)."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve in the foreground until SIGTERM
    Run {
        #[command(flatten)]
        config: Config,
    },
    /// Read configuration and zones as a start would, change nothing
    Check {
        #[command(flatten)]
        config: Config,
        /// The configuration only: zones are not read
        #[arg(long)]
        quick: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Write this site's service and networks into the configuration, and try them
    Init(init::Init),
    /// Show what the files of the configuration say together
    #[command(subcommand)]
    Config(show::Show),
    /// Look for mistakes in the file of a policy zone
    CheckZone(zone_check::Asked),
    /// Show listeners, backends, zones, cache and counters of the running relay
    Status {
        #[command(flatten)]
        at: At,
    },
    /// Make the running relay read its configuration and zones again
    Reload {
        #[command(flatten)]
        at: At,
    },
    /// Ask each backend once and tell what it says; exit code 1 if an upstream has none that
    /// answers
    Probe {
        #[command(flatten)]
        at: At,
    },
    /// Tell why a client gets an answer: the rule, the way to it, and what undoes it
    Explain(explain::Explain),
    /// Tell by the exit code whether the running relay serves: answers, resolves,
    /// blocks, and has policy that is not too old
    Healthcheck(health::Healthcheck),
    /// Compare the two relays of a pair
    #[command(subcommand)]
    Pair(pair::Pair),
    /// Look into the cache, or forget names
    #[command(subcommand)]
    Cache(Cache),
    /// Switch logs of the running relay
    #[command(subcommand)]
    Log(Log),
    /// Let a name through, whatever the zones say
    Allow(exceptions::Except),
    /// Block a name, whatever the zones say
    Block(exceptions::Except),
    /// List the names let through or blocked by hand, or remove some
    Exceptions(exceptions::Listed),
    /// List the policy zones: source, state, serial, rules, age, and what is wrong
    Zones {
        #[command(flatten)]
        at: At,
    },
    /// Look at one policy zone, bring it up to date, or decide about it
    #[command(subcommand)]
    Zone(zones::Zone),
    /// Suspend all policy for a while, or resume it
    #[command(subcommand)]
    Policy(exceptions::Policy),
    /// Make this machine itself ask the relay, or put back what was before
    #[command(subcommand)]
    Resolver(resolver::Resolver),
    /// Try it out: two backends, a relay and a sample policy on loopback
    Demo {
        /// Ask the sample queries, compare, and exit
        #[arg(long)]
        check: bool,
        /// Address and port of the relay
        #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:5300")]
        listen: std::net::SocketAddr,
    },
    /// Print the configuration file with all keys and their defaults
    Template,
}

#[derive(Subcommand)]
enum Cache {
    /// Show what is cached for a name
    Show {
        /// The name, such as www.example.com
        name: String,
        #[command(flatten)]
        at: At,
    },
    /// Forget what is cached for a name
    Flush {
        /// The name, such as www.example.com
        name: String,
        /// All names below it too
        #[arg(long)]
        subtree: bool,
        #[command(flatten)]
        at: At,
    },
}

#[derive(Subcommand)]
enum Log {
    /// Log every query, or stop
    Queries {
        /// On or off
        switch: Switch,
        #[command(flatten)]
        at: At,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(clap::Args)]
struct Config {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
}

#[derive(clap::Args)]
struct Form {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which running relay is meant.
#[derive(clap::Args)]
struct Place {
    #[command(flatten)]
    config: Config,
    /// Control socket, if not the configuration's
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

/// The same, for commands that print JSON if they are told to.
#[derive(clap::Args)]
struct At {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    form: Form,
}

/// All commands with their flags, as `culvert` takes them; the manual pages and the completion are
/// made from it.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs a command; the exit code says whether it did its job.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run { config } => run(config.config),
        Command::Check { config, quick, form } => check(&config.config, quick, form.json),
        Command::Init(init) => init.run(),
        Command::Config(show) => show.run(),
        Command::CheckZone(asked) => zone_check::run(&asked),
        Command::Status { at } => ask(&at, Request::Status, render::status),
        Command::Reload { at } => ask(&at, Request::Reload, said),
        Command::Probe { at } => ask_well(&at, Request::Probe, render::probe, render::all_well),
        Command::Explain(wish) => wish.run(),
        Command::Healthcheck(check) => check.run(),
        Command::Pair(pair) => pair.run(),
        Command::Cache(Cache::Show { name, at }) => {
            let request = Request::CacheShow { name: name.clone() };
            ask(&at, request, |v| render::cached(&name, v))
        }
        Command::Cache(Cache::Flush { name, subtree, at }) => {
            let flushed = |v: &Value| format!("{} answers forgotten\n", v["flushed"]);
            ask(&at, Request::CacheFlush { name, subtree }, flushed)
        }
        Command::Log(Log::Queries { switch, at }) => {
            let on = matches!(switch, Switch::On);
            ask(&at, Request::LogQueries { on }, said)
        }
        Command::Allow(wish) => wish.ask(Verdict::Allow),
        Command::Block(wish) => wish.ask(Verdict::Block),
        Command::Exceptions(listed) => listed.ask(),
        Command::Zones { at } => ask(&at, Request::Zones, zone_replies::words::table),
        Command::Zone(zone) => zone.run(),
        Command::Policy(policy) => policy.ask(),
        Command::Resolver(resolver) => resolver.run(),
        Command::Demo { check, listen } => demo::main(listen, check),
        Command::Template => {
            print(&config::template());
            ExitCode::SUCCESS
        }
    }
}

fn run(config: PathBuf) -> ExitCode {
    let _written_at_the_end = journal::begin();
    let (_never, stop) = tokio::sync::watch::channel(false);
    match daemon::run(Options { config, hits: None }, stop) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            tracing::error!(event = "start-refused", "{trouble}");
            exit_code(&trouble)
        }
    }
}

fn check(config: &Path, quick: bool, as_json: bool) -> ExitCode {
    as_the_relay(config);
    match if quick { daemon::check_quick(config) } else { daemon::check(config) } {
        Ok(checked) => {
            let checked = json!(checked);
            print(&if as_json { format!("{checked}\n") } else { render::checked(&checked) });
            ExitCode::SUCCESS
        }
        Err(trouble) => refuse(&trouble, as_json),
    }
}

/// Goes on as the relay's user, if this is root and the configuration is that of the package: what
/// root may read is not what the relay may read, and the check is to say what the start would.
fn as_the_relay(config: &Path) {
    let root = std::fs::metadata("/proc/self").is_ok_and(|of_ours| of_ours.uid() == 0);
    if !root || config != Path::new(CONFIG) {
        return;
    }
    let ids = (accounts::user_id(USER), accounts::group_id(USER), std::env::current_exe());
    if let (Some(uid), Some(gid), Ok(program)) = ids {
        // comes back only if that is not to be had; then root's eyes have to do
        let _ = process::Command::new(program)
            .args(std::env::args_os().skip(1))
            .uid(uid)
            .gid(gid)
            .exec();
    }
}

/// Tells what is wrong with the configuration.
fn refuse(trouble: &Trouble, as_json: bool) -> ExitCode {
    if as_json {
        let faults = match trouble {
            Trouble::Config(faults) => json!(faults),
            Trouble::Loops(faults) => json!(faults),
            other => json!([{ "message": other.to_string() }]),
        };
        print(&format!("{}\n", json!({ "faults": faults })));
    } else {
        eprintln!("{trouble}");
    }
    exit_code(trouble)
}

fn exit_code(trouble: &Trouble) -> ExitCode {
    match trouble {
        Trouble::System(_) => ExitCode::FAILURE,
        _ => ExitCode::from(EXIT_CONFIG),
    }
}

/// Sends a request to the running relay and prints the reply.
fn ask(at: &At, request: Request, words: impl FnOnce(&Value) -> String) -> ExitCode {
    ask_well(at, request, words, |_| true)
}

/// The same for a reply that may tell of something bad.
fn ask_well(
    at: &At,
    request: Request,
    words: impl FnOnce(&Value) -> String,
    is_well: impl FnOnce(&Value) -> bool,
) -> ExitCode {
    let reply = talk(&at.place, async |path| control::ask(path, &request).await);
    let reply = reply.unwrap_or_else(|text| json!({ "error": text }));
    let failed = reply.get("error").is_some();
    if at.form.json {
        print(&format!("{reply}\n"));
    } else if failed {
        eprintln!("{}", reply["error"].as_str().unwrap_or("the relay gave no reason"));
    } else {
        print(&words(&reply));
    }
    if failed || !is_well(&reply) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs a conversation over the control socket.
fn talk<T, E: From<String>>(
    place: &Place,
    with: impl AsyncFnOnce(&Path) -> Result<T, E>,
) -> Result<T, E> {
    let path = control_path(place)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("no runtime can be made: {e}"))?;
    runtime.block_on(with(&path))
}

/// The control socket that was named, or the one in the configuration.
fn control_path(place: &Place) -> Result<PathBuf, String> {
    match &place.control {
        Some(path) => Ok(path.clone()),
        None => match config::control(&place.config.config) {
            Ok(path) => Ok(path),
            // group culvert may command the relay, but the configuration is none of its business
            Err(_) if config::is_forbidden(&place.config.config) => Ok(config::CONTROL.into()),
            Err(faults) => Err(format!("{faults}\nor name the socket with --control PATH")),
        },
    }
}

fn said(reply: &Value) -> String {
    format!("{}\n", reply["ok"].as_str().unwrap_or_default())
}

/// A reader that went away (`culvert status | head`) is no fault of ours.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
