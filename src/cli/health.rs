//! `culvert healthcheck`: is this relay fit to serve? Made for keepalived, load balancers and
//! monitoring, which look at the exit code.
//!
//! ```text
//!   control socket ─ status ─► where to ask, names that must resolve or be blocked
//!                                │ then all at the same time, within the time that is left
//!                                ├─ a local name over UDP and TCP
//!                                ├─ names that must resolve, not out of the cache
//!                                ├─ names that must be blocked: explained, and asked like a client
//!                                └─ upstream and policy zones, as the status has them
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use super::query::{self, Asked};
use super::{At, control_path, print};
use crate::admin::health::{self, Check};
use crate::admin::{Explain, Request, control};
use crate::config::{self, Listen, quantity};
use crate::dns::ede::code;
use crate::dns::rcode;

/// The port of DNS.
const PORT: u16 = 53;
/// A name that is answered here, whatever the upstream does.
const LOCAL: &str = "localhost";
/// Exit code if the check itself could not be made.
const CANNOT: u8 = 2;

/// `culvert healthcheck`.
#[derive(clap::Args)]
#[command(after_help = "Exit code: 0 healthy, 1 not, 2 the check could not be made.")]
pub(super) struct Healthcheck {
    /// Ask the relay there; otherwise on loopback, or on the first address it listens on
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    address: Option<SocketAddr>,
    /// All checks together take at most this long
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = limit)]
    timeout: Duration,
    /// No acting zone from elsewhere may have been without word of its source for longer
    #[arg(long, value_name = "TIME", value_parser = quantity::duration)]
    max_age: Option<Duration>,
    /// Print nothing
    #[arg(long, conflicts_with = "json")]
    quiet: bool,
    #[command(flatten)]
    at: At,
}

/// What is asked where.
struct Plan {
    server: SocketAddr,
    control: PathBuf,
    /// The relay's own account, or why there is none.
    status: Result<Value, String>,
    resolves: Vec<String>,
    blocked: Vec<String>,
    max_age: Option<Duration>,
    end: Instant,
}

impl Healthcheck {
    pub(super) fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(e) => {
                eprintln!("the check cannot be made: {e}");
                return ExitCode::from(CANNOT);
            }
        };
        let (server, checks) = runtime.block_on(async {
            let plan = self.plan().await;
            (plan.server, plan.checks().await)
        });
        let report = health::report(&server.to_string(), &checks);
        if self.at.form.json {
            print(&format!("{report}\n"));
        } else if !self.quiet {
            print(&health::words(&report));
        }
        if report["healthy"] == true { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    async fn plan(&self) -> Plan {
        let end = Instant::now() + self.timeout;
        // the running relay counts, whatever became of its file since
        let control = control_path(&self.at.place).unwrap_or_else(|_| config::CONTROL.into());
        // half of the time is left for the questions
        let status = within(self.timeout / 2, control::ask(&control, &Request::Status)).await;
        let written = match status {
            Ok(_) => None,
            Err(_) => config::load(&self.at.place.config.config).ok(),
        };
        let (found, resolves, blocked) = match (&status, &written) {
            (Ok(status), _) => {
                let names = |key: &str| in_text(&status["canary"][key]);
                (listening(status), names("resolves"), names("blocked"))
            }
            (Err(_), Some(settings)) => {
                let names = |names: &[crate::dns::name::Name]| {
                    names.iter().map(ToString::to_string).collect()
                };
                let canary = &settings.canary;
                let own = settings.server.listen.iter().map(one_address).collect();
                (own, names(&canary.resolves), names(&canary.blocked))
            }
            (Err(_), None) => Default::default(),
        };
        let server = self.address.unwrap_or_else(|| preferred(&found));
        Plan { server, control, status, resolves, blocked, max_age: self.max_age, end }
    }
}

impl Plan {
    async fn checks(&self) -> Vec<Check> {
        let answers = [self.answers(false), self.answers(true)];
        let resolves = self.resolves.iter().map(|name| self.resolves(name));
        let blocked = self.blocked.iter().map(|name| self.is_blocked(name));
        let (answers, resolves, blocked) =
            tokio::join!(join_all(answers), join_all(resolves), join_all(blocked));
        let mut checks = answers;
        checks.extend(resolves);
        match &self.status {
            Ok(status) => {
                checks.push(health::upstream(status));
                checks.extend(blocked);
                checks.extend(health::zones(status, self.max_age));
            }
            Err(reason) => {
                checks.extend(blocked);
                let told = format!("not known, since the relay cannot be asked: {reason}");
                checks.push(Check::new("policy zones", Err(told)));
            }
        }
        checks
    }

    async fn ask(&self, name: &str, asked: Asked) -> Result<query::Reply, String> {
        timeout_at(self.end, query::ask(self.server, name, asked, self.end))
            .await
            .unwrap_or_else(|_| Err(format!("{} gave no answer in time", self.server)))
    }

    /// A name that no upstream is needed for.
    async fn answers(&self, tcp: bool) -> Check {
        let reply = self.ask(LOCAL, Asked { tcp, recursion: false }).await;
        let found = reply.and_then(|reply| match (reply.rcode, reply.ede) {
            (rcode::REFUSED, Some(code::PROHIBITED)) => {
                Err(format!("{} is not in server.allow: {} refuses it", reply.client, self.server))
            }
            _ => Ok(format!("{}, {:.1} ms", self.server, reply.millis())),
        });
        Check::new(format!("answers over {}", if tcp { "TCP" } else { "UDP" }), found)
    }

    async fn resolves(&self, name: &str) -> Check {
        if self.status.is_ok() {
            // a kept answer shows nothing, least of all on a relay that nobody asks just now
            let request = Request::CacheFlush { name: name.to_owned(), subtree: false };
            let _ = timeout_at(self.end, control::ask(&self.control, &request)).await;
        }
        let reply = self.ask(name, Asked { tcp: false, recursion: true }).await;
        let found = reply.and_then(|reply| match (reply.rcode, reply.ede) {
            (rcode::NOERROR, Some(code::STALE)) => {
                Err("only a stale answer: the upstream does not answer".to_owned())
            }
            (rcode::NOERROR, _) => Ok(format!("{:.1} ms", reply.millis())),
            _ => Err(format!("{}, though it must resolve", reply.in_words())),
        });
        Check::new(format!("resolves {name}"), found)
    }

    async fn is_blocked(&self, name: &str) -> Check {
        let found = match &self.status {
            Ok(status) => match health::why_nothing_is_blocked(status) {
                Some(reason) => Ok(format!("not looked at: {reason}")),
                None => self.blocked_as_judged(name).await,
            },
            Err(_) => self.blocked_as_answered(name).await,
        };
        Check::new(format!("blocks {name}"), found)
    }

    /// Blocked in the relay's own judgement, and answered so.
    async fn blocked_as_judged(&self, name: &str) -> Result<String, String> {
        let explain = Explain {
            name: name.to_owned(),
            qtype: "A".to_owned(),
            client: own_address(self.server).unwrap_or(self.server.ip()),
            tcp: false,
            dnssec_ok: false,
            recursion_desired: true,
        };
        let request = Request::Explain(explain);
        let explanation = timeout_at(self.end, control::ask(&self.control, &request))
            .await
            .unwrap_or_else(|_| Err("the relay did not judge it in time".to_owned()))?;
        let (by, wanted) = health::block(&explanation)?;
        // a rule that drops the query leaves nothing to wait for
        let Some(wanted) = wanted else { return Ok(by) };
        let reply = self.ask(name, Asked { tcp: false, recursion: true }).await?;
        match rcode::text(reply.rcode) == wanted {
            true => Ok(by),
            false => Err(format!("should be {wanted} ({by}), but is {}", reply.in_words())),
        }
    }

    /// Without the relay's judgement only an extended error tells a block from the truth.
    async fn blocked_as_answered(&self, name: &str) -> Result<String, String> {
        const BLOCKS: [u16; 4] = [code::FORGED, code::BLOCKED, code::CENSORED, code::FILTERED];
        let reply = self.ask(name, Asked { tcp: false, recursion: true }).await?;
        match reply.ede.filter(|ede| BLOCKS.contains(ede)) {
            Some(_) => Ok(reply.in_words()),
            None => Err(format!("{}, which does not show that it is blocked", reply.in_words())),
        }
    }
}

/// A future's outcome, or that it took too long.
async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let late = || Err(format!("no reply on the control socket within {limit:?}"));
    timeout(limit, work).await.unwrap_or_else(|_| late())
}

fn in_text(names: &Value) -> Vec<String> {
    let names = names.as_array().into_iter().flatten();
    names.filter_map(|name| Some(name.as_str()?.to_owned())).collect()
}

/// Where the relay listens, by its own account.
fn listening(status: &Value) -> Vec<SocketAddr> {
    let ports = status["listeners"].as_array().into_iter().flatten();
    let listening = ports.filter(|port| port["udp"] == "listening");
    listening.filter_map(|port| port["address"].as_str()?.parse().ok()).collect()
}

/// One address that an entry of the configuration stands for.
fn one_address(listen: &Listen) -> SocketAddr {
    match listen {
        Listen::Interfaces(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, *port)),
        Listen::Address(address) => *address,
    }
}

/// The address to ask: loopback if the relay listens there, else the first one that this host
/// has. The address of a pair may be on the other host just now, which would answer for this one.
fn preferred(found: &[SocketAddr]) -> SocketAddr {
    let mut found: Vec<SocketAddr> = found.iter().map(|address| on_loopback(*address)).collect();
    found.sort_by_key(|address| !address.ip().is_loopback());
    let here = |address: &&SocketAddr| UdpSocket::bind((address.ip(), 0)).is_ok();
    let preferred = found.iter().find(here).or(found.first());
    preferred.copied().unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)))
}

/// Who listens on all addresses listens on loopback.
fn on_loopback(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => return address,
    };
    SocketAddr::new(ip, address.port())
}

/// The address that a query of ours comes from.
fn own_address(server: SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(query::any(server)).ok()?;
    socket.connect(server).ok()?;
    Some(socket.local_addr().ok()?.ip().to_canonical())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let alone = || text.trim_matches(['[', ']']).parse().map(|ip: IpAddr| (ip, PORT).into());
    let cure = "write \"127.0.0.1:53\", \"192.0.2.11\" or \"[2001:db8::11]:53\"";
    text.parse().or_else(|_| alone()).map_err(|_| format!("this is no address; {cure}"))
}

fn limit(text: &str) -> Result<Duration, String> {
    let limit = quantity::duration(text)?;
    let bounds = Duration::from_millis(100)..=Duration::from_secs(60);
    if bounds.contains(&limit) { Ok(limit) } else { Err("write 100ms to 60s".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_ask() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (text, meant) in [
            ("127.0.0.1", "127.0.0.1:53"),
            ("127.0.0.1:5300", "127.0.0.1:5300"),
            ("::1", "[::1]:53"),
            ("[::1]", "[::1]:53"),
            ("[::1]:5300", "[::1]:5300"),
        ] {
            assert_eq!(address(text), Ok(at(meant)));
        }
        assert!(address("localhost").is_err() && address("").is_err());
        for (found, meant) in [
            (&["192.0.2.11:53", "127.0.0.1:53"][..], "127.0.0.1:53"),
            (&["0.0.0.0:5300"], "127.0.0.1:5300"),
            // an address of a documentation network is nobody's
            (&["192.0.2.11:53", "127.0.0.9:53"], "127.0.0.9:53"),
            (&["192.0.2.11:53"], "192.0.2.11:53"),
            (&[], "127.0.0.1:53"),
        ] {
            let found: Vec<SocketAddr> = found.iter().map(|text| at(text)).collect();
            assert_eq!(preferred(&found), at(meant), "{found:?}");
        }
        assert!(limit("50ms").is_err() && limit("2s").is_ok() && limit("2m").is_err());
    }
}
