//! Names and numbers of users and groups, as `/etc/passwd` and `/etc/group` have them.
//!
//! Other sources of accounts (LDAP, systemd) are not asked: they need the C library's plug-ins,
//! and may take their time.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Octets of either file that are read.
const FILE_MAX: u64 = 1 << 20;
/// Longest name that is shown, in characters.
const NAME_MAX: usize = 64;

/// The name of a user (passwd(5)); `None` if the file has none that can be shown.
pub fn user_name(uid: u32) -> Option<String> {
    name_of(&read("/etc/passwd"), uid)
}

/// The number of a user (passwd(5)).
pub fn user_id(name: &str) -> Option<u32> {
    id_of(&read("/etc/passwd"), name)
}

/// The number of a group (group(5)).
pub fn group_id(name: &str) -> Option<u32> {
    id_of(&read("/etc/group"), name)
}

/// The name of a group (group(5)); `None` if the file has none that can be shown.
pub fn group_name(gid: u32) -> Option<String> {
    name_of(&read("/etc/group"), gid)
}

/// True for names that are shown to people as they are.
pub fn is_shown(name: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "._-$@+\\".contains(c);
    !name.is_empty() && name.chars().count() <= NAME_MAX && name.chars().all(plain)
}

fn read(file: impl AsRef<Path>) -> String {
    let mut text = Vec::new();
    // without it there are numbers, and no names
    if let Ok(file) = File::open(file) {
        let _ = file.take(FILE_MAX).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Both files begin their lines with name, password, number.
fn entries(text: &str) -> impl Iterator<Item = (&str, u32)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((name, fields.nth(1)?.parse().ok()?))
    })
}

fn name_of(text: &str, id: u32) -> Option<String> {
    let (name, _) = entries(text).find(|(_, own)| *own == id)?;
    is_shown(name).then(|| name.to_owned())
}

fn id_of(text: &str, name: &str) -> Option<u32> {
    entries(text).find(|(own, _)| *own == name).map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "root:x:0:0:root:/root:/bin/sh\n\n+::\nanna:x:1001:1001:A:/home/anna:\n\
                        odd\u{1b}:x:7:\n";

    #[test]
    fn names_and_numbers_are_found() {
        assert_eq!(name_of(FILE, 1001).as_deref(), Some("anna"));
        assert_eq!((name_of(FILE, 1002), name_of("", 0), name_of(FILE, 7)), (None, None, None));
        assert_eq!(
            (id_of(FILE, "anna"), id_of(FILE, "ann"), id_of(FILE, "+")),
            (Some(1001), None, None)
        );
        assert!(
            is_shown("sys$1") && !is_shown("") && !is_shown("a b") && !is_shown(&"x".repeat(65))
        );
    }
}
