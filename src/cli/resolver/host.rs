//! What there is on a host that decides about its resolver.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The file that programs read to find their resolver (resolv.conf(5)).
pub(super) const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Octets of a file that are read.
const FILE_MAX: u64 = 1 << 20;

/// A file as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Thing {
    /// Nothing of that name.
    Absent,
    /// A symbolic link, and where it leads.
    Link(PathBuf),
    /// A file with its text, permissions and owner.
    File { text: String, mode: u32, uid: u32, gid: u32 },
}

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) resolv_conf: Thing,
    /// systemd-resolved runs.
    pub(super) resolved: bool,
    /// NetworkManager runs.
    pub(super) network_manager: bool,
    /// dhclient has a folder for hooks.
    pub(super) dhclient: bool,
    /// dhcpcd has a configuration.
    pub(super) dhcpcd: bool,
    /// openresolv has a configuration.
    pub(super) openresolv: bool,
    /// netplan has files.
    pub(super) netplan: bool,
}

/// Looks at the host below `root`; `live` if that is the running one, whose services can be asked.
pub(super) fn look(root: &Path, live: bool) -> Result<Host, String> {
    let resolv_conf = thing(&below(root, Path::new(RESOLV_CONF)))?;
    let is_there = |path: &str| below(root, Path::new(path)).exists();
    let runs = |unit: &str, trace: &str| if live { is_active(unit) } else { is_there(trace) };
    Ok(Host {
        resolved: runs("systemd-resolved.service", "/run/systemd/resolve"),
        network_manager: runs("NetworkManager.service", "/run/NetworkManager"),
        dhclient: is_there("/etc/dhcp/dhclient-enter-hooks.d"),
        dhcpcd: is_there("/etc/dhcpcd.conf"),
        openresolv: is_there("/etc/resolvconf.conf"),
        netplan: fs::read_dir(below(root, Path::new("/etc/netplan")))
            .is_ok_and(|mut folder| folder.next().is_some()),
        resolv_conf,
    })
}

/// A path of the host, below another root.
pub(super) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// What is at a path, links not followed.
pub(super) fn thing(path: &Path) -> Result<Thing, String> {
    let refused = |e: io::Error| format!("{}: {e}", path.display());
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Thing::Absent),
        Err(e) => return Err(refused(e)),
    };
    if meta.is_symlink() {
        return fs::read_link(path).map(Thing::Link).map_err(refused);
    }
    if !meta.is_file() || meta.len() > FILE_MAX {
        return Err(format!("{}: this is no file of settings", path.display()));
    }
    let text = fs::read_to_string(path).map_err(refused)?;
    Ok(Thing::File { text, mode: meta.mode() & 0o7777, uid: meta.uid(), gid: meta.gid() })
}

fn is_active(unit: &str) -> bool {
    let asked = Command::new("systemctl").args(["is-active", "--quiet", unit]).status();
    asked.is_ok_and(|status| status.success())
}
