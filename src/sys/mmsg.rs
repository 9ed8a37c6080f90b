//! Many datagrams per system call: `recvmmsg` for queries, `sendmmsg` for replies.
//!
//! ```text
//!   socket ─ recvmmsg ─▶ Inbound ─ get(i) ─▶ caller
//!   socket ◀─ sendmmsg ─ Outbound ◀─ buffer, push ─┘
//! ```
//!
//! Both directions own one slot per datagram, allocated once. The headers that point to the slots
//! are built on the stack for each call (about 3 KiB), so no pointer outlives the call it is for,
//! and both types are `Send` without a promise of ours.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::pktinfo::{ControlBytes, Local, PeerBytes};

/// Datagrams that one call receives or sends at most.
pub const BATCH: usize = 32;

/// Bytes of a query that are kept. A longer one is cut and marked as truncated.
pub const UDP_QUERY_MAX: usize = 4096;

/// Bytes of room for a reply in [`Outbound::buffer`].
pub const UDP_REPLY_MAX: usize = 4096;

/// How long one [`Outbound::send`] waits for room in the send buffer, all waits together.
const SEND_WAIT: Duration = Duration::from_millis(5);

/// Errors left behind by earlier traffic that one [`Inbound::receive`] steps over.
const PENDING_ERRORS_MAX: usize = 8;

/// Receives up to [`BATCH`] datagrams with one system call; its buffers are allocated once.
pub struct Inbound {
    slots: Box<[InSlot]>,
    /// What the kernel reported for the slots of the last call; as many as it filled.
    arrived: [Arrived; BATCH],
    count: usize,
}

/// Where the kernel puts one datagram.
struct InSlot {
    peer: PeerBytes,
    control: ControlBytes,
    data: [u8; UDP_QUERY_MAX],
}

/// What the kernel says about one datagram: lengths in bytes, not yet trusted.
#[derive(Clone, Copy)]
struct Arrived {
    peer: usize,
    control: usize,
    data: usize,
    flags: libc::c_int,
}

/// One datagram of the last batch.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Its content, cut to [`UDP_QUERY_MAX`].
    pub data: &'a [u8],
    /// Whether it was longer than `data` (`MSG_TRUNC`).
    pub truncated: bool,
    /// Its sender. The port may be 0, which cannot be answered.
    pub from: SocketAddr,
    /// The address it was sent to.
    pub to: Local,
}

impl Inbound {
    /// Allocates the buffers, about 131 KiB.
    pub fn new() -> Self {
        let slot = || InSlot {
            peer: PeerBytes::EMPTY,
            control: ControlBytes::EMPTY,
            data: [0; UDP_QUERY_MAX],
        };
        let nothing = Arrived { peer: 0, control: 0, data: 0, flags: 0 };
        Self {
            slots: std::iter::repeat_with(slot).take(BATCH).collect(),
            arrived: [nothing; BATCH],
            count: 0,
        }
    }

    /// Takes the waiting datagrams, without waiting for any, and forgets those of the last call.
    ///
    /// Returns how many there are. `Ok(0)` means that only errors of earlier traffic were found
    /// and that there may be more to read; call again.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is waiting; anything else means the socket itself is unusable.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.count = 0;
        self.count = step_over_pending_errors(|| self.receive_once(socket))?;
        Ok(self.count)
    }

    /// The datagram `i` of the last batch.
    ///
    /// # Panics
    /// If `i` is not below the number that [`Inbound::receive`] returned last.
    pub fn get(&self, i: usize) -> Datagram<'_> {
        let arrived = &self.arrived[..self.count][i];
        let slot = &self.slots[i];
        let to = slot.control.decode(arrived.control);
        let truncated = arrived.flags & libc::MSG_TRUNC != 0;
        match slot.peer.decode(arrived.peer) {
            Some(from) => {
                let data = &slot.data[..arrived.data.min(UDP_QUERY_MAX)];
                Datagram { data, truncated, from, to }
            }
            // No UDP socket does this. Without a sender there is nobody to answer, so it is given
            // as an empty datagram from nowhere.
            None => Datagram { data: &[], truncated, from: NOWHERE, to },
        }
    }

    fn receive_once(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut vectors = [EMPTY_VECTOR; BATCH];
        let mut headers = empty_headers();
        for ((slot, vector), header) in self.slots.iter_mut().zip(&mut vectors).zip(&mut headers) {
            vector.iov_base = slot.data.as_mut_ptr().cast();
            vector.iov_len = slot.data.len();
            let header = &mut header.msg_hdr;
            header.msg_name = (&raw mut slot.peer).cast();
            header.msg_namelen = PeerBytes::SIZE as libc::socklen_t;
            header.msg_control = (&raw mut slot.control).cast();
            header.msg_controllen = ControlBytes::SIZE as _;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
        }
        // SAFETY: (ALIVE, OWN-LENGTH, EXCLUSIVE, OPEN) headers and vectors are on this stack,
        // their pointers lead to slots borrowed by `&mut self`, each length is its field's size,
        // and there are BATCH of each. No timeout is given.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?.min(BATCH);
        for (arrived, header) in self.arrived.iter_mut().zip(&headers[..count]) {
            *arrived = Arrived {
                peer: header.msg_hdr.msg_namelen as usize,
                control: header.msg_hdr.msg_controllen as _,
                data: header.msg_len as usize,
                flags: header.msg_hdr.msg_flags,
            };
        }
        Ok(count)
    }
}

impl Default for Inbound {
    fn default() -> Self {
        Self::new()
    }
}

/// Collects up to [`BATCH`] replies and sends them with one system call; its buffers are
/// allocated once.
pub struct Outbound {
    slots: Box<[OutSlot]>,
    queued: usize,
}

/// One reply with its two ends in the kernel's form.
struct OutSlot {
    peer: PeerBytes,
    peer_len: usize,
    control: ControlBytes,
    control_len: usize,
    data: [u8; UDP_REPLY_MAX],
    data_len: usize,
}

/// What became of a batch: the two add up to the number of queued replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Replies that the kernel took.
    pub sent: usize,
    /// Replies that the kernel refused, or that found no room in time.
    pub failed: usize,
}

impl Outbound {
    /// Allocates the buffers, about 132 KiB.
    pub fn new() -> Self {
        let slot = || OutSlot {
            peer: PeerBytes::EMPTY,
            peer_len: 0,
            control: ControlBytes::EMPTY,
            control_len: 0,
            data: [0; UDP_REPLY_MAX],
            data_len: 0,
        };
        Self { slots: std::iter::repeat_with(slot).take(BATCH).collect(), queued: 0 }
    }

    /// Whether [`Outbound::send`] has to be called before the next reply.
    pub fn is_full(&self) -> bool {
        self.queued == self.slots.len()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// Number of queued replies, at most [`BATCH`].
    pub fn len(&self) -> usize {
        self.queued
    }

    /// Room for the next reply: [`UDP_REPLY_MAX`] bytes with whatever was in them before.
    ///
    /// # Panics
    /// If the batch is full.
    pub fn buffer(&mut self) -> &mut [u8] {
        &mut self.slots[self.queued].data
    }

    /// Queues the first `len` bytes of [`Outbound::buffer`] as a reply to `to`, leaving from
    /// `from`. Without a usable address in `from` the kernel chooses the source.
    ///
    /// # Panics
    /// If the batch is full, or if `len` is more than [`UDP_REPLY_MAX`].
    pub fn push(&mut self, len: usize, to: SocketAddr, from: Local) {
        assert!(len <= UDP_REPLY_MAX, "a reply is written into the buffer before it is queued");
        let slot = &mut self.slots[self.queued];
        (slot.peer, slot.peer_len) = PeerBytes::encode(to);
        (slot.control, slot.control_len) = ControlBytes::encode(to, from);
        slot.data_len = len;
        self.queued += 1;
    }

    /// Sends everything queued and empties the batch.
    ///
    /// A reply that the kernel refuses (no route, port 0, firewall, a source address that has
    /// gone) counts as failed, and those behind it are still sent. If the send buffer is full,
    /// this blocks the thread for up to 5 ms in all; what has found no room by then counts as
    /// failed, and the client will ask again.
    pub fn send(&mut self, socket: BorrowedFd<'_>) -> Sent {
        let queued = std::mem::take(&mut self.queued);
        let mut vectors = [EMPTY_VECTOR; BATCH];
        let mut headers = empty_headers();
        let slots = self.slots[..queued].iter_mut();
        for ((slot, vector), header) in slots.zip(&mut vectors).zip(&mut headers) {
            vector.iov_base = slot.data.as_mut_ptr().cast();
            vector.iov_len = slot.data_len;
            header.msg_hdr = outgoing(
                (&mut slot.peer, slot.peer_len),
                (&mut slot.control, slot.control_len),
                vector,
            );
        }
        let mut deadline = None;
        send_all(
            queued,
            |at| {
                let rest = &mut headers[at..queued];
                // SAFETY: (ALIVE, OWN-LENGTH, EXCLUSIVE, OPEN) headers and vectors are on this
                // stack, their pointers lead to slots borrowed by `&mut self`, lengths are those
                // of filled front parts, and the count is the slice's. The kernel writes only
                // `msg_len`, and only of headers in the slice.
                let sent = unsafe {
                    libc::sendmmsg(
                        socket.as_raw_fd(),
                        rest.as_mut_ptr(),
                        rest.len() as libc::c_uint,
                        SEND_FLAGS as _,
                    )
                };
                usize::try_from(sent).map_err(|_| io::Error::last_os_error())
            },
            || {
                let now = Instant::now();
                let end = *deadline.get_or_insert(now + SEND_WAIT);
                wait_writable(socket, end.saturating_duration_since(now))
            },
        )
    }
}

impl Default for Outbound {
    fn default() -> Self {
        Self::new()
    }
}

/// Sends one reply at once, for answers that are ready outside a batch. It never waits.
///
/// # Errors
/// `WouldBlock` if the send buffer is full; else why the kernel refused this reply.
pub fn send_one(
    socket: BorrowedFd<'_>,
    data: &[u8],
    to: SocketAddr,
    from: Local,
) -> io::Result<()> {
    let (mut peer, peer_len) = PeerBytes::encode(to);
    let (mut control, control_len) = ControlBytes::encode(to, from);
    // The C type has no constant variant; the kernel only reads from here.
    let mut vector = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    let header = outgoing((&mut peer, peer_len), (&mut control, control_len), &mut vector);
    loop {
        // SAFETY: (ALIVE, OWN-LENGTH, OPEN) the header points to variables of this function and
        // to `data`, which is borrowed until the end of it. The kernel only reads.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, SEND_FLAGS) };
        if sent >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

const SEND_FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// The sender of a datagram that came without one.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

const EMPTY_VECTOR: libc::iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };

fn empty_headers() -> [libc::mmsghdr; BATCH] {
    // SAFETY: (PLAIN) null pointers and zero lengths; some C libraries have private padding
    // fields that cannot be named.
    unsafe { std::mem::zeroed() }
}

/// The header of one message to send. It points to what the arguments point to, so these must
/// live, unmoved, until the system call has returned.
fn outgoing(
    (peer, peer_len): (&mut PeerBytes, usize),
    (control, control_len): (&mut ControlBytes, usize),
    vector: &mut libc::iovec,
) -> libc::msghdr {
    // SAFETY: (PLAIN) as for `empty_headers`.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = (&raw mut *peer).cast();
    header.msg_namelen = peer_len as libc::socklen_t;
    header.msg_iov = vector;
    header.msg_iovlen = 1;
    if control_len > 0 {
        header.msg_control = (&raw mut *control).cast();
        header.msg_controllen = control_len as _;
    }
    header
}

/// Repeats `receive` while it reports errors that are not about receiving, but not for ever.
fn step_over_pending_errors(mut receive: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    for _ in 0..PENDING_ERRORS_MAX {
        match receive() {
            Err(error) if is_pending_error(&error) => {}
            result => return result,
        }
    }
    Ok(0)
}

/// Whether an error on receiving is no fault of the socket and gone once reported: a signal's
/// interruption, a moment without memory, or the late news (by ICMP, or from a firewall or a link
/// that is down) of something sent before.
fn is_pending_error(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EINTR
                | libc::ECONNREFUSED
                | libc::ECONNRESET
                | libc::EHOSTUNREACH
                | libc::EHOSTDOWN
                | libc::ENETUNREACH
                | libc::ENETDOWN
                | libc::ENONET
                | libc::ENOPROTOOPT
                | libc::EPROTO
                | libc::EOPNOTSUPP
                | libc::EACCES
                | libc::EPERM
                | libc::EMSGSIZE
                | libc::ENOBUFS
                | libc::ENOMEM
        )
    )
}

/// Sends messages 0 to `total`. `send(at)` sends from message `at` on and returns how many went;
/// its error is about message `at` alone. `writable` waits for room; false means give up.
fn send_all(
    total: usize,
    mut send: impl FnMut(usize) -> io::Result<usize>,
    mut writable: impl FnMut() -> bool,
) -> Sent {
    let mut result = Sent::default();
    loop {
        let at = result.sent + result.failed;
        if at >= total {
            return result;
        }
        match send(at) {
            // The kernel never reports 0 of some; if it did, skipping one ends the loop.
            Ok(0) => result.failed += 1,
            Ok(count) => result.sent += count.min(total - at),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock if writable() => {}
                io::ErrorKind::WouldBlock => result.failed = total - result.sent,
                _ => result.failed += 1,
            },
        }
    }
}

/// Waits until the socket takes more; false if it did not within `limit`.
fn wait_writable(socket: BorrowedFd<'_>, limit: Duration) -> bool {
    if limit.is_zero() {
        return false;
    }
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // Rounded up: poll counts in milliseconds, and 0 would not wait at all.
    let millis = limit.as_micros().div_ceil(1000).try_into().unwrap_or(libc::c_int::MAX);
    // SAFETY: (ALIVE, OWN-LENGTH, EXCLUSIVE, OPEN) one `pollfd` on this stack.
    let ready = unsafe { libc::poll(&raw mut poll, 1, millis) };
    // After a signal the caller tries again and comes back with what is left of the limit.
    ready > 0 || (ready < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
