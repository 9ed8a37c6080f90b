//! What the process may use: CPU priority of one thread, so that bulk work gives way to answering
//! queries, the number of open files, and memory that is free. And what its host is called.

use std::ffi::CStr;

/// Octets of a host name that are asked for, more than Linux lets it have.
const HOST_NAME_MAX: usize = 256;

/// How far [`lower_priority`] raises the nice value.
const STEP: libc::c_int = 10;

/// The highest nice value that Linux has.
const NICEST: libc::c_int = 19;

/// Lowers the CPU priority of the calling thread by ten nice steps, down to nice 19 at most.
///
/// Linux keeps a nice value for each thread, so the threads that answer queries are not touched;
/// a thread started by this one inherits the lowered value. It cannot be undone without
/// privileges. Returns whether it worked; the only harm of `false` is less even latency.
pub fn lower_priority() -> bool {
    let nice = current().saturating_add(STEP).min(NICEST);
    // SAFETY: no pointer is passed. A thread id of 0 means the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS as _, 0, nice) == 0 }
}

/// Raises the limit of open files to the most that this process may have. Gives the limit, or
/// `None` if it could not be asked for.
pub fn raise_open_files() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: ALIVE, EXCLUSIVE and PLAIN hold for `limit`, a local that outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return None;
    }
    let wanted = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: ALIVE holds for `wanted`, which the call only reads.
    let raised = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted) } == 0;
    Some(if raised { wanted.rlim_cur } else { limit.rlim_cur })
}

/// Gives memory that was freed back to the system, which the allocator would keep otherwise.
/// Takes some milliseconds for each 100 MiB; not for a serving thread.
pub fn return_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointer is passed; the call locks what it looks at.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The host's name, asked of the kernel: a hardened service does not see the file that has it below
/// `/proc`. `None` if it has none.
pub fn host_name() -> Option<String> {
    let mut name = [0_u8; HOST_NAME_MAX];
    // SAFETY: ALIVE, OWN-LENGTH and EXCLUSIVE hold for `name`, a local.
    let asked = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) };
    let name = CStr::from_bytes_until_nul(&name).ok().filter(|_| asked == 0)?;
    let name = name.to_str().ok()?.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Nice value of the calling thread, from -20 to 19.
fn current() -> libc::c_int {
    // -1 is a value as well as the error mark, but asking about oneself cannot fail.
    // SAFETY: no pointer is passed. A thread id of 0 means the calling thread.
    unsafe { libc::getpriority(libc::PRIO_PROCESS as _, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_go_up_to_the_hard_limit() {
        let first = raise_open_files().unwrap();
        assert!(first >= 3);
        assert_eq!(raise_open_files(), Some(first));
    }

    #[test]
    fn the_host_has_the_name_that_the_kernel_says() {
        let shown = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(host_name().as_deref(), Some(shown.trim()).filter(|name| !name.is_empty()));
    }

    #[test]
    fn only_the_calling_thread_gets_nicer() {
        let before = current();
        let lowered = std::thread::spawn(|| (lower_priority(), current())).join().unwrap();
        assert_eq!(lowered, (true, (before + STEP).min(NICEST)));
        assert_eq!(current(), before);
    }
}
