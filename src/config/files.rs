//! The files of a configuration: the main file, and the drop-ins in the folder beside it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::limits;
use crate::sys::accounts;

/// The largest configuration that is read, in octets: each of its files, and all together.
pub const MAX_FILE: u64 = 1 << 20;

/// One file as it was read.
pub(super) struct Text {
    /// As it is named in messages.
    pub(super) path: PathBuf,
    /// Its text; of a file with a fault what is good of it.
    pub(super) text: String,
    pub(super) fault: Option<Unreadable>,
}

/// Why a file, or some of it, is no text.
pub(super) enum Unreadable {
    /// The file as a whole.
    Whole(String),
    /// From the end of the text on it is not UTF-8.
    NotText,
}

/// A drop-in that is not on the disk yet, or not in this form.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Name of its file in the folder of drop-ins.
    pub name: &'a str,
    /// What it says.
    pub text: &'a str,
}

impl Text {
    pub(super) fn new(path: &Path, text: &str) -> Text {
        // the parser skips a byte order mark, but counts it in its spans
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        Text { path: path.to_path_buf(), text, fault: None }
    }

    fn unreadable(path: &Path, message: String) -> Text {
        let fault = Some(Unreadable::Whole(message));
        Text { path: path.to_path_buf(), text: String::new(), fault }
    }

    pub(super) fn read(path: &Path) -> Text {
        let octets = match read(path) {
            Ok(octets) => octets,
            Err(message) => return Text::unreadable(path, message),
        };
        match std::str::from_utf8(&octets) {
            Ok(text) => Text::new(path, text),
            Err(error) => {
                let good = String::from_utf8_lossy(&octets[..error.valid_up_to()]);
                Text { fault: Some(Unreadable::NotText), ..Text::new(path, &good) }
            }
        }
    }
}

/// The folder of drop-ins that belongs to a main file: `culvert.d` beside `culvert.toml`.
pub fn drop_in_folder(main: &Path) -> PathBuf {
    main.with_extension("d")
}

/// All files in the order in which they are put together: the main file, then the drop-ins by
/// their names. The `draft` stands in for the drop-in of its name.
pub(super) fn read_all(main: &Path, draft: Option<Draft<'_>>) -> Vec<Text> {
    let mut files = vec![Text::read(main)];
    let folder = drop_in_folder(main);
    // a main file that is called like its own folder has none
    let mut names = match folder == main {
        true => Vec::new(),
        false => match drop_ins(&folder) {
            Ok(names) => names,
            Err(message) => {
                files.push(Text::unreadable(&folder, message));
                return files;
            }
        },
    };
    if let Some(draft) = draft
        && let Err(place) = names.binary_search_by(|name| name.as_os_str().cmp(draft.name.as_ref()))
    {
        names.insert(place, draft.name.into());
    }
    let mut octets = files.iter().map(|file| file.text.len()).sum::<usize>();
    for name in names {
        let path = folder.join(&name);
        let mut file = match draft.filter(|draft| OsStr::new(draft.name) == name) {
            Some(draft) => Text::new(&path, draft.text),
            None => Text::read(&path),
        };
        octets += file.text.len();
        if octets as u64 > MAX_FILE {
            let message = "with this file the configuration is larger than 1 MiB; policy zones \
                go into files of their own";
            file = Text::unreadable(&path, message.to_owned());
            files.push(file);
            break;
        }
        files.push(file);
    }
    files
}

/// Names of the drop-ins in a folder, which may be missing, sorted by their octets.
fn drop_ins(folder: &Path) -> Result<Vec<OsString>, String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(explain(&error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| explain(&error))?;
        let name = entry.file_name();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder || name.as_bytes().starts_with(b".") || !name.as_bytes().ends_with(b".toml") {
            continue;
        }
        names.push(name);
        if names.len() > limits::DROP_INS {
            return Err(format!("has more than {} files; put some together", limits::DROP_INS));
        }
    }
    names.sort();
    Ok(names)
}

/// The file's octets, or what is wrong with it and what to do.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let file = open(path)?;
    let read = file.take(MAX_FILE + 1).read_to_end(&mut text);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > MAX_FILE {
        return Err("is larger than 1 MiB; this is no configuration file".to_owned());
    }
    Ok(text)
}

/// Opens a regular file for reading. Pipes and devices are refused, since opening one may block.
pub(super) fn open(path: &Path) -> Result<File, String> {
    let kind = fs::metadata(path).map_err(|error| explain(&error))?;
    if kind.is_dir() {
        return Err("is a folder; name a file in it".to_owned());
    }
    if !kind.is_file() {
        return Err("is not a regular file".to_owned());
    }
    File::open(path).map_err(|error| explain(&error))
}

/// What to do about a file or folder that cannot be read.
fn explain(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "does not exist; create it or correct the path".to_owned(),
        ErrorKind::PermissionDenied => format!(
            "may not be read by {}; check owner and mode of the file and of the folders above it",
            user()
        ),
        _ => format!("cannot be read: {error}"),
    }
}

/// The user that this process runs as.
fn user() -> String {
    let uid = fs::metadata("/proc/self").map(|process| process.uid());
    let name = uid.ok().and_then(accounts::user_name);
    name.map_or_else(|| "this user".to_owned(), |name| format!("user {name}"))
}

/// True if this user lacks the permission to read the configuration.
pub fn is_forbidden(main: &Path) -> bool {
    let denied = |error: std::io::Error| error.kind() == ErrorKind::PermissionDenied;
    let folder = fs::read_dir(drop_in_folder(main));
    File::open(main).is_err_and(denied) || folder.is_err_and(denied)
}
