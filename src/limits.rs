//! Every bound in the program, in one place, with the relations between them.

use std::time::Duration;

/// A client's query is answered within this, whatever happens upstream. Stub resolvers give up
/// after 5 s.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(4);
/// What is kept of [`ANSWER_DEADLINE`] for writing the last answer.
pub const ANSWER_MARGIN: Duration = Duration::from_millis(100);
/// Without an answer by then, a stale one is given (RFC 8767 section 5).
pub const STALE_AFTER: Duration = Duration::from_millis(1800);
/// TTL of stale answers in seconds (RFC 8767 section 4).
pub const STALE_TTL: u32 = 30;
/// How long a backend's own SERVFAIL is remembered (RFC 9520 section 3.2 allows 1 s to 5 min).
pub const SERVFAIL_KEPT: Duration = Duration::from_secs(5);
/// How long a failed transport is remembered.
pub const FAILURE_KEPT: Duration = Duration::from_secs(1);
/// Failures remembered at a time.
pub const FAILURES: usize = 10_000;
/// Look-ups that one query may cause: its own, ANY's second, a garden's target.
pub const LOOKUPS_PER_QUERY: usize = 4;
/// Aliases that are followed behind a rule's own CNAME are the upstream's; this many times a
/// query is judged anew because the policy changed under it.
pub const JUDGED_ANEW: usize = 8;

/// Policy hits waiting to be written; more are counted as dropped.
pub const HIT_QUEUE: usize = 16_384;

/// Writes waiting for one TCP client to read, of up to 128 KiB each.
pub const TCP_WRITE_QUEUE: usize = 4;
/// Queries of one TCP connection in flight at the upstream.
pub const TCP_IN_FLIGHT: usize = 128;
/// A TCP client that reads nothing for this long is closed.
pub const TCP_WRITE_STALL: Duration = Duration::from_secs(5);
/// How long a closed TCP connection is still read from.
pub const TCP_LINGER: Duration = Duration::from_secs(1);
/// Connections waiting to be accepted, per listening socket.
pub const TCP_BACKLOG: i32 = 511;
/// Pause after an accept that failed (no file descriptors left, say).
pub const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);
/// Batches that one socket may take in a row before other tasks get their turn.
pub const BATCHES_IN_A_ROW: usize = 8;

/// One request or reply on the control socket, in octets.
pub const CONTROL_MESSAGE: usize = 4 << 20;
/// A request on the control socket must be complete within this.
pub const CONTROL_DEADLINE: Duration = Duration::from_secs(30);
/// Requests on the control socket at a time.
pub const CONTROL_CONNECTIONS: usize = 16;
/// Connections of the status listener at a time.
pub const STATUS_CONNECTIONS: usize = 32;
/// A request to the status listener must be read and answered within this.
pub const STATUS_DEADLINE: Duration = Duration::from_secs(10);

/// Queries in flight at a stop get this long.
pub const DRAIN: Duration = Duration::from_secs(5);
/// Policy files and interfaces are looked at this often.
pub const WATCH_EVERY: Duration = Duration::from_millis(500);
/// Most policy zones: one bit each in the matcher's masks.
pub const POLICY_ZONES: usize = 64;

const _: () = assert!(STALE_AFTER.as_millis() < ANSWER_DEADLINE.as_millis());
const _: () = assert!(ANSWER_MARGIN.as_millis() < STALE_AFTER.as_millis());
const _: () = assert!(DRAIN.as_millis() >= ANSWER_DEADLINE.as_millis());
