//! The drop-in that `culvert init` writes: the service, and the networks of this site.

use std::path::{Path, PathBuf};

use super::fault::Report;
use super::files::Text;
use super::shown::{Shown, quoted};
use super::table::settings_of;
use super::url::{self, Secret};
use super::{address, walked};

/// What a site's own drop-in says.
#[derive(Clone, Debug)]
pub struct Site {
    /// URL of the service.
    pub url: Secret,
    /// Its addresses, IP or IP:PORT.
    pub addresses: Vec<String>,
    /// Networks to serve besides this host itself; if there is none, the defaults hold.
    pub networks: Vec<String>,
    /// Roots of the service's certificate; `None`: the system's trust store.
    pub ca: Option<PathBuf>,
    /// Where to listen; if there is none, the main file says.
    pub listen: Vec<String>,
}

/// What a site's drop-in holds already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The service's URL without its path.
    pub url: String,
    /// The service's addresses.
    pub addresses: Vec<String>,
}

impl Site {
    /// Name of the file in the folder of drop-ins.
    pub const FILE: &'static str = "10-site.toml";
    /// Name of the upstream, so that it replaces the one in the main file.
    pub const UPSTREAM: &'static str = "service";

    /// The file's text.
    pub fn text(&self) -> String {
        let mut out = String::from(
            "# This site: its service and its networks, written by `culvert init`.\n\
             # After a change: `culvert check`, then `systemctl reload culvert`.\n\n\
             # Takes the place of the upstream of this name in the main file.\n\
             [[upstream]]\n",
        );
        let mut line = |key: &str, value: String| out.push_str(&format!("{key} = {value}\n"));
        line("name", quoted(Self::UPSTREAM));
        line("url", quoted(self.url.expose()));
        line("addresses", list(&self.addresses));
        if let Some(ca) = &self.ca {
            line("ca", quoted(&ca.display().to_string()));
        }
        if !self.networks.is_empty() || !self.listen.is_empty() {
            out.push_str("\n[server]\n");
        }
        if !self.listen.is_empty() {
            out.push_str(&format!("listen = {}\n", list(&self.listen)));
        }
        if !self.networks.is_empty() {
            let mut allow = vec!["127.0.0.0/8".to_owned(), "::1".to_owned()];
            allow.extend(self.networks.iter().filter(|net| !is_loopback(net)).cloned());
            out.push_str(&format!(
                "# This host, and the networks it serves.\nallow = {}\n",
                list(&allow)
            ));
        }
        out
    }
}

fn is_loopback(network: &str) -> bool {
    matches!(network, "127.0.0.0/8" | "::1" | "::1/128")
}

fn list(entries: &[String]) -> String {
    Shown::List(entries.to_vec()).to_string()
}

/// Host and port of a service's URL, or what is wrong with it. The message does not show it.
pub fn service_host(text: &str) -> Result<(String, u16), String> {
    let url = url::list_url(text)?;
    Ok((url.host, url.port))
}

/// Whether the text is the address of a service, IP or IP:PORT; or what is wrong with it.
pub fn check_address(text: &str) -> Result<(), String> {
    address::address(text).map(drop)
}

/// Whether the text is a network for `server.allow`, or what is wrong with it.
pub fn check_network(text: &str) -> Result<(), String> {
    address::allow(text).map(drop)
}

/// Whether the text is an entry of `server.listen`, or what is wrong with it.
pub fn check_listen(text: &str) -> Result<(), String> {
    address::listen(text).map(drop)
}

/// What an earlier drop-in of a site says about the service; `None` if it cannot be read or does
/// not say it.
pub fn held(path: &Path) -> Option<Held> {
    let file = Text::read(path);
    let mut report = Report::default();
    let base = report.add_source(&file.path, &file.text);
    let document = walked(&file, base, &mut report)?;
    let part = document.all("upstream[]").first()?;
    let shown = |key: &str| {
        let setting = settings_of("upstream[]").find(|setting| setting.key() == key)?;
        part.shown(setting).map(|(shown, _)| shown.clone())
    };
    let (Shown::Text(url), Shown::List(addresses)) = (shown("url")?, shown("addresses")?) else {
        return None;
    };
    Some(Held { url, addresses })
}
