//! The last good copy of a zone on disk, so that its rules are in force from the first answer
//! after a start, whatever its source does.
//!
//! ```text
//!   rules accepted ─► save: written beside, fsync, rename, fsync of the folder
//!   source heard of, nothing new ─► touch_contact: time of the file
//!   start ─► load ─► rules, when they came, when the source was last heard of
//!              └──► a fault ─► set_aside; the zone waits for its source
//!   after a start or reload ─► forget_others
//! ```
//!
//! An image is the rules as they are in memory ([`form`]), so that loading is reading and
//! checking. Nothing in it is trusted: whatever the octets, loading ends in good rules or in a
//! fault that says what is wrong.

mod fault;
mod folder;
mod form;
mod octets;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ring::digest;

use super::source::Origin;
use super::status::SourceKind;
use crate::dns::name::Name;
use crate::limits;
use crate::policy::rules::ZoneRules;
use crate::rpz::Form;

pub use fault::{LoadFault, SaveError, Why};
pub use folder::{forget_others, path_of, set_aside, touch_contact};

/// What is to be saved.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// The rules, whose zone names the file.
    pub rules: &'a ZoneRules,
    /// Where they come from.
    pub identity: Identity,
    /// When they came, in milliseconds since 1970.
    pub came: u64,
    /// When the source last said that they are its newest.
    pub contact: SystemTime,
}

/// What was saved.
#[derive(Debug)]
pub struct Loaded {
    /// The rules. Of the records that became none, the first
    /// [`limits::SAVED_REASONS`] are known.
    pub rules: ZoneRules,
    /// Where they came from then.
    pub identity: Identity,
    /// When they came, in milliseconds since 1970.
    pub came: u64,
    /// When the source last said that they are its newest, by the time of the file.
    pub contact: SystemTime,
    /// Size of the file in octets.
    pub octets: u64,
}

/// What a zone's rules depend on besides the zone itself: a copy with another identity than the
/// configuration asks for is no copy of that. Primaries do not count, they all have the same
/// zone; a URL does, of which only a hash is kept, since it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    kind: SourceKind,
    form: Form,
    place: [u8; 32],
}

/// Octets of an [`Identity`].
const IDENTITY: usize = 34;

const KINDS: [SourceKind; 3] = [SourceKind::File, SourceKind::Transfer, SourceKind::Download];
const FORMS: [Form; 5] = [
    Form::Zone,
    Form::Domains { subdomains: false },
    Form::Domains { subdomains: true },
    Form::Hosts { subdomains: false },
    Form::Hosts { subdomains: true },
];

impl Identity {
    /// The identity of a zone from there, spelled that way.
    pub fn of(origin: &Origin, form: Form) -> Identity {
        let (kind, place) = match origin {
            Origin::File(path) => (SourceKind::File, path.as_os_str().as_encoded_bytes()),
            // what is transferred is a zone, whatever the primary read it from
            Origin::Transfer(_) => {
                return Identity { kind: SourceKind::Transfer, form: Form::Zone, place: [0; 32] };
            }
            Origin::Download(download) => (SourceKind::Download, download.url.as_bytes()),
        };
        let mut sum = [0; 32];
        sum.copy_from_slice(digest::digest(&digest::SHA256, place).as_ref());
        Identity { kind, form, place: sum }
    }

    fn octets(&self) -> [u8; IDENTITY] {
        let mut out = [0; IDENTITY];
        let [kind, form, place @ ..] = &mut out;
        let at = |found: Option<usize>| found.unwrap_or_default() as u8;
        *kind = at(KINDS.iter().position(|kind| *kind == self.kind));
        *form = at(FORMS.iter().position(|form| *form == self.form));
        *place = self.place;
        out
    }

    fn from_octets(octets: &[u8; IDENTITY]) -> Option<Identity> {
        let [kind, form, place @ ..] = octets;
        let (kind, form) = (KINDS.get(usize::from(*kind))?, FORMS.get(usize::from(*form))?);
        Some(Identity { kind: *kind, form: *form, place: *place })
    }
}

/// Nobody else reads or writes images meanwhile: two writers of one zone would take the half of
/// each other's file for the whole. Whoever saves or loads holds this.
pub(super) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Saves a zone in the folder, which is made if it is missing. What was saved before is replaced
/// once the new image is on the disk as a whole; an error leaves it as it was. Blocks.
pub fn save(folder: &Path, saved: &Saved<'_>) -> Result<(), SaveError> {
    let path = path_of(folder, &saved.rules.origin);
    let written = folder::replace(&path, saved.contact, |file| form::write(saved, file));
    written.map_err(|error| SaveError { path, error })
}

/// Loads what was saved of a zone; `None` if nothing was. What a crash in the middle of saving
/// left is removed, so nothing may be saved at the same time. Blocks.
pub fn load(folder: &Path, zone: &Name, max_rules: usize) -> Result<Option<Loaded>, LoadFault> {
    let path = path_of(folder, zone);
    folder::clear_leftover(&path);
    let fault = |why| LoadFault::new(&path, why);
    // opening a pipe would wait for its other end
    let kind = match std::fs::metadata(&path) {
        Ok(meta) => meta,
        Err(e) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&e.kind()) => {
            return Ok(None);
        }
        Err(error) => return Err(fault(Why::Unreadable(error))),
    };
    if !kind.is_file() || kind.len() > limits::SAVED_FILE {
        return Err(fault(Why::Foreign));
    }
    let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
    let (meta, file) = opened.map_err(|error| fault(Why::Unreadable(error)))?;
    let contact = meta.modified().map_err(|error| fault(Why::Unreadable(error)))?;
    let image = form::read(file, meta.len(), zone, max_rules).map_err(fault)?;
    let form::Image { rules, identity, came } = image;
    Ok(Some(Loaded { rules, identity, came, contact, octets: meta.len() }))
}

/// Reads an image that is in memory: its rules, or what is wrong with it.
pub fn read(image: &[u8], zone: &Name, max_rules: usize) -> Result<ZoneRules, Why> {
    form::read(image, image.len() as u64, zone, max_rules).map(|image| image.rules)
}
