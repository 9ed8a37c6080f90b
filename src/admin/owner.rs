//! Who gives a command: the user at the other end of the control socket, as the kernel has it.

use tokio::net::UnixStream;

use crate::sys::accounts;

/// The user who gives a command, in words. What the client says of itself (`sudo_user`) counts
/// only if it runs as root: anybody else could say anything.
pub(super) fn of(stream: &UnixStream, sudo_user: Option<&str>) -> String {
    match stream.peer_cred() {
        Ok(peer) => in_words(accounts::user_name(peer.uid()), peer.uid(), sudo_user),
        Err(_) => "an unknown user".to_owned(),
    }
}

fn in_words(name: Option<String>, uid: u32, sudo_user: Option<&str>) -> String {
    let name = name.unwrap_or_else(|| format!("user {uid}"));
    match sudo_user.filter(|sudo| uid == 0 && accounts::is_shown(sudo) && *sudo != name) {
        Some(sudo) => format!("{name} (sudo by {sudo})"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_is_asked_who_it_was_before() {
        let words = |name: &str, uid, sudo| in_words(Some(name.to_owned()), uid, sudo);
        assert_eq!(words("root", 0, None), "root");
        assert_eq!(words("root", 0, Some("anna")), "root (sudo by anna)");
        assert_eq!(words("root", 0, Some("root")), "root");
        assert_eq!(words("root", 0, Some("x) the boss\u{1b}")), "root");
        assert_eq!(words("anna", 1001, Some("boss")), "anna");
        assert_eq!(in_words(None, 1002, Some("boss")), "user 1002");
        assert_eq!(in_words(None, 0, None), "user 0");
    }
}
