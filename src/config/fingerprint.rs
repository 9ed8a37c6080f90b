//! One short text for what a configuration says, to compare the two relays of a pair by.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::settings::{
    Checksum, Log, LogFormat, PolicySource, Server, Settings, Status, UpstreamKind,
};
use super::{Hits, MAX_FILE};

/// Octets of the checksum that are shown.
const SHOWN: usize = 8;

/// 16 hexadecimal digits that are the same on two hosts whose configurations mean the same. Left
/// out is what is a host's own: `server.name`, `listen`, `control`, `control_group`, `state` and
/// `workers`, `[log]`, `[status]`, the paths of files, and where things are written. Files of
/// trusted roots count by what is in them; those of policy zones do not count, since the zones are
/// compared themselves. Secrets count through SHA-256 only.
///
/// The same program gives the same text for the same meaning; another version may give another.
/// Reads the files of trusted roots: not for a serving thread.
pub fn fingerprint(settings: &Settings) -> String {
    let mut common = settings.clone();
    common.file = PathBuf::new();
    common.files.clear();
    common.warnings.clear();
    common.places.clear();
    let Server { name, listen, control, control_group, state, workers, .. } = &mut common.server;
    (*name, *control_group, *workers) = (None, None, 0);
    listen.clear();
    for path in [control, state] {
        *path = PathBuf::new();
    }
    common.log = Log { hits: Hits::Journal, format: LogFormat::Json, queries: false };
    common.status = Status { listen: None, allow: Vec::new() };

    let mut hash = Sha256::new();
    for upstream in &mut common.upstreams {
        if let UpstreamKind::Doh(doh) = &mut upstream.kind {
            add_roots(&mut hash, doh.ca.take());
            doh.paths.iter().for_each(|path| add(&mut hash, path.expose().as_bytes()));
        }
    }
    for policy in &mut common.policies {
        match &mut policy.source {
            PolicySource::File(path) => *path = PathBuf::new(),
            PolicySource::Primaries(transfer) => add_roots(&mut hash, transfer.ca.take()),
            PolicySource::Url(download) => {
                add_roots(&mut hash, download.ca.take());
                add(&mut hash, download.url.expose().as_bytes());
                if let Some(Checksum::At(url)) = &download.sha256 {
                    add(&mut hash, url.expose().as_bytes());
                }
            }
        }
    }
    common.tsig.iter().for_each(|key| add(&mut hash, &key.secret));
    // secrets are hidden in this text, and all else is in it
    add(&mut hash, format!("{common:?}").as_bytes());
    HEXLOWER.encode(&hash.finalize()[..SHOWN])
}

/// Adds a part with its length, so that no two rows of parts look the same.
fn add(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_be_bytes());
    hash.update(part);
}

fn add_roots(hash: &mut Sha256, file: Option<PathBuf>) {
    let Some(file) = file else { return add(hash, b"the system's trust store") };
    // what cannot be read now differs from whatever could be
    add(hash, &read(&file).unwrap_or_default());
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    if std::fs::metadata(file)?.is_file() {
        File::open(file)?.take(MAX_FILE).read_to_end(&mut octets)?;
    }
    Ok(octets)
}
