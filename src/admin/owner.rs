//! Who gives a command: the user at the other end of the control socket, as the kernel has it.

use std::fs::File;
use std::io::Read;

use tokio::net::UnixStream;

/// Where names of users are.
const PASSWD: &str = "/etc/passwd";
/// Octets of it that are read.
const PASSWD_MAX: u64 = 1 << 20;
/// Longest name of a user that is shown, in characters.
const USER_MAX: usize = 64;

/// The user who gives a command, in words. What the client says of itself (`sudo_user`) counts
/// only if it runs as root: anybody else could say anything.
pub(super) fn of(stream: &UnixStream, sudo_user: Option<&str>) -> String {
    match stream.peer_cred() {
        Ok(peer) => in_words(&passwd(), peer.uid(), sudo_user),
        Err(_) => "an unknown user".to_owned(),
    }
}

fn passwd() -> String {
    let mut text = Vec::new();
    // without it users have numbers
    if let Ok(file) = File::open(PASSWD) {
        let _ = file.take(PASSWD_MAX).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn in_words(passwd: &str, uid: u32, sudo_user: Option<&str>) -> String {
    let name = user(passwd, uid).map_or_else(|| format!("user {uid}"), str::to_owned);
    match sudo_user.filter(|sudo| uid == 0 && is_shown(sudo) && *sudo != name) {
        Some(sudo) => format!("{name} (sudo by {sudo})"),
        None => name,
    }
}

/// The name of a user (passwd(5)).
fn user(passwd: &str, uid: u32) -> Option<&str> {
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    });
    found.filter(|name| is_shown(name))
}

fn is_shown(name: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "._-$@+\\".contains(c);
    !name.is_empty() && name.chars().count() <= USER_MAX && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_is_asked_who_it_was_before() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n\n+::\nanna:x:1001:1001:A:/home/anna:\n";
        assert_eq!(in_words(passwd, 0, None), "root");
        assert_eq!(in_words(passwd, 0, Some("anna")), "root (sudo by anna)");
        assert_eq!(in_words(passwd, 0, Some("root")), "root");
        assert_eq!(in_words(passwd, 0, Some("x) the boss\u{1b}")), "root");
        assert_eq!(in_words(passwd, 1001, Some("boss")), "anna");
        assert_eq!(in_words(passwd, 1002, Some("boss")), "user 1002");
        assert_eq!(in_words("", 0, None), "user 0");
    }
}
