//! System calls that no library in use offers, and the only `unsafe` code of the program.
//!
//! ```text
//!   listener                     daemon, zones, upstream
//!      │  queries, replies          │ which addresses, when they change
//!      ▼                            ▼
//!   mmsg ── recvmmsg, sendmmsg   socket ── bind, adopt, socket options, host addresses
//!      │                         inherit ─ descriptors from the service manager
//!   pktinfo ─ bytes of the       netlink ─ "an address or a link has changed"
//!             two ends (safe)    sched ─── nice value of one thread, open files, free memory,
//!      │                         │         the host's name
//!                                port_owner ─ who holds a port (safe)
//!                                journal ──── entries for systemd's journal (safe)
//!                                accounts ─── names of users and groups (safe)
//! ```
//!
//! Linux only. Nothing here knows what DNS is, and nothing here waits, with two exceptions:
//! [`Outbound::send`] may wait a few milliseconds for room in a full send buffer, and
//! [`port_owner()`] looks at files of the kernel.
//!
//! # Invariants
//!
//! Every `SAFETY` comment in this room names those it relies on.
//!
//! - **ALIVE**: a pointer given to the kernel points into memory that the same function borrows
//!   or owns until the call has returned. It is made for that one call; none is stored in a
//!   struct, so moving or sending our values between threads cannot leave one dangling. The
//!   kernel keeps no pointer after the call.
//! - **OWN-LENGTH**: the length beside a pointer is the size of exactly the object that the
//!   pointer was taken from, or of its filled front part.
//! - **EXCLUSIVE**: memory that the kernel writes to was reached through `&mut`, and nobody reads
//!   it before the call has returned.
//! - **PLAIN**: the C structs used here are integers and pointers only, so all-zero bytes are a
//!   valid value, and whatever the kernel writes into them is valid too.
//! - **OPEN**: the descriptor comes from a borrowed or owned socket, so it stays open, and is not
//!   another file's, for as long as the call lasts.
//! - **HANDED**: descriptors that the service manager passed belong to this process, and to
//!   nobody in it until [`inherited`] has given them out, which it does once.
//!
//! One more is kept by safe code: lengths that the kernel reports are cut to the size of the
//! buffer before they are used as an index.

pub mod accounts;
#[allow(unsafe_code)]
mod inherit;
pub mod journal;
#[allow(unsafe_code)]
mod mmsg;
#[allow(unsafe_code)]
mod netlink;
mod pktinfo;
mod port_owner;
#[allow(unsafe_code)]
mod sched;
#[allow(unsafe_code)]
pub mod socket;

pub use inherit::inherited;
pub use mmsg::{BATCH, Datagram, Inbound, Outbound, Sent, UDP_QUERY_MAX, UDP_REPLY_MAX, send_one};
pub use netlink::AddressWatch;
pub use pktinfo::Local;
pub use port_owner::{PortOwner, Protocol, port_owner};
pub use sched::{host_name, lower_priority, raise_open_files, return_memory};
