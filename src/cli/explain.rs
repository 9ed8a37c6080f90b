//! `culvert explain`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::json;

use super::{At, ask, exit_code, print};
use crate::admin::{self, Request, explain as words};
use crate::daemon::explain::{Offline, offline};
use crate::dns::name::Name;
use crate::pipeline::explain::Given;
use crate::rpz::Form;

/// Who asks if nobody is named.
const CLIENT: &str = "127.0.0.1";

#[derive(clap::Args)]
pub(super) struct Explain {
    /// The name that is asked for, such as www.example.com
    name: String,
    /// The type that is asked for, such as AAAA or MX
    #[arg(default_value = "A")]
    qtype: String,
    /// The client that asks
    #[arg(long, value_name = "IP", default_value = CLIENT)]
    client: IpAddr,
    /// It asks over TCP
    #[arg(long)]
    tcp: bool,
    /// It asks for DNSSEC records (DO)
    #[arg(long)]
    dnssec: bool,
    /// It wants no recursion (RD=0)
    #[arg(long)]
    norecurse: bool,
    /// Ask no relay: judge by this policy zone; several in their order
    #[arg(long, value_name = "FILE")]
    zone: Vec<PathBuf>,
    /// How the files of --zone are written
    #[arg(long, value_enum, default_value = "rpz", requires = "zone")]
    format: ZoneFormat,
    /// With --zone: an address in the answer
    #[arg(long, value_name = "IP", requires = "zone")]
    address: Vec<IpAddr>,
    /// With --zone: a name server of the name, or its address
    #[arg(long, value_name = "NAME", requires = "zone")]
    ns: Vec<String>,
    #[command(flatten)]
    at: At,
}

#[derive(Clone, Copy, ValueEnum)]
enum ZoneFormat {
    Rpz,
    Domains,
    Hosts,
}

impl Explain {
    pub(super) fn run(self) -> ExitCode {
        let wish = admin::Explain {
            name: self.name.clone(),
            qtype: self.qtype.clone(),
            client: self.client,
            tcp: self.tcp,
            dnssec_ok: self.dnssec,
            recursion_desired: !self.norecurse,
        };
        if self.zone.is_empty() {
            return ask(&self.at, Request::Explain(wish), words::words);
        }
        let asking = match (wish.asking(), self.given()) {
            (Ok(asking), Ok(given)) => Ok((asking, given)),
            (Err(text), _) | (_, Err(text)) => Err(text),
        };
        let (asking, given) = match asking {
            Ok(asking) => asking,
            Err(text) => {
                eprintln!("{text}");
                return ExitCode::FAILURE;
            }
        };
        // as the configuration has them if nothing else is said
        let form = match self.format {
            ZoneFormat::Rpz => Form::Zone,
            ZoneFormat::Domains => Form::Domains { subdomains: true },
            ZoneFormat::Hosts => Form::Hosts { subdomains: true },
        };
        match offline(&asking, &Offline { files: self.zone, form, given }) {
            Ok(explanation) => {
                let told = json!(explanation);
                print(&if self.at.form.json { format!("{told}\n") } else { words::words(&told) });
                ExitCode::SUCCESS
            }
            Err(trouble) => {
                eprintln!("{trouble}");
                exit_code(&trouble)
            }
        }
    }

    /// What the options say is true of the name.
    fn given(&self) -> Result<Given, String> {
        let mut given = Given { addresses: self.address.clone(), ..Given::default() };
        for server in &self.ns {
            match (server.parse::<IpAddr>(), server.parse::<Name>()) {
                (Ok(address), _) => given.server_addresses.push(address),
                (_, Ok(name)) => given.servers.push(name),
                (_, Err(e)) => return Err(format!("--ns {server}: {e}")),
            }
        }
        Ok(given)
    }
}
