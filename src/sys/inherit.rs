//! Descriptors that the service manager hands over at the start (sd_listen_fds(3)).

use std::env;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The first descriptor handed over; 0 to 2 are the standard ones.
const FIRST: RawFd = 3;
/// The most that are believed: systemd's own limit is far below.
const MOST: u32 = 65_536;

/// The descriptors handed over to this process with their names, close-on-exec. The first call
/// gives them, every later one gives none.
///
/// The environment stays as it is: it names this process, so no child can take it for its own,
/// and changing it is not safe once there are threads. A descriptor without a name has an empty
/// one. One that is not open is left out.
pub fn inherited() -> Vec<(OwnedFd, String)> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let variable = |name| env::var(name).ok();
    let count = handed_over(variable("LISTEN_PID"), variable("LISTEN_FDS"), std::process::id());
    if count == 0 || TAKEN.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    (FIRST..)
        .take(count as usize)
        .map(|fd| (fd, names.next().unwrap_or_default()))
        .filter_map(|(fd, name)| Some((own(fd).ok()?, name)))
        .collect()
}

/// How many descriptors the environment promises to the process `own`.
fn handed_over(pid: Option<String>, count: Option<String>, own: u32) -> u32 {
    let number = |text: Option<String>| text.and_then(|text| text.parse::<u32>().ok());
    match (number(pid), number(count)) {
        (Some(pid), Some(count)) if pid == own => count.min(MOST),
        _ => 0,
    }
}

/// Takes an open descriptor, and keeps it from children.
fn own(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved; a descriptor that is not open is an error of the call.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: (HANDED) it is open, as was just seen, and nobody else in this process owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    super::socket::close_on_exec(&fd)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_handed_to_this_process_counts() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(handed_over(text("7"), text("3"), 7), 3);
        assert_eq!(handed_over(text("8"), text("3"), 7), 0, "a parent's");
        assert_eq!(handed_over(None, text("3"), 7), 0);
        assert_eq!(handed_over(text("7"), None, 7), 0);
        assert_eq!(handed_over(text("7"), text("-1"), 7), 0);
        assert_eq!(handed_over(text("7"), text("4294967295"), 7), MOST);
    }

    #[test]
    fn a_closed_descriptor_is_not_taken() {
        assert!(own(1_000_000).is_err());
    }
}
