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
/// Queries that wait for upstreams at a time, joined ones included; about 3 KiB each. Those
/// beyond it are answered SERVFAIL at once.
pub const WAITING: u64 = 32_768;
/// Look-ups that one query may cause: its own, ANY's second, a garden's target.
pub const LOOKUPS_PER_QUERY: usize = 4;
/// Aliases that are followed behind a rule's own CNAME are the upstream's; this many times a
/// query is judged anew because the policy changed under it.
pub const JUDGED_ANEW: usize = 8;

/// Policy hits waiting to be written; more are counted as dropped.
pub const HIT_QUEUE: usize = 8_192;
/// Names that are counted one by one for a zone that only watches. With text of 25 octets they
/// take 1 MiB, with the longest possible (escaped, 1,000 octets) 11 MiB.
pub const TALLY_NAMES: usize = 10_000;
/// Clients that are counted one by one for a zone that only watches; about 1 MiB.
pub const TALLY_CLIENTS: usize = 10_000;
/// Names, and clients, that the report of such a zone shows.
pub const TALLY_SHOWN: usize = 50;

/// Writes waiting for one TCP client to read, of up to 128 KiB each.
pub const TCP_WRITE_QUEUE: usize = 4;
/// Octets of answers that wait to be written to one TCP client; one that lets more wait is
/// closed.
pub const TCP_HELD: usize = 1 << 20;
/// The same for all TCP clients together.
pub const TCP_HELD_IN_ALL: usize = 64 << 20;
/// Queries of one TCP connection in flight at the upstream.
pub const TCP_IN_FLIGHT: usize = 128;
/// A TCP client that reads nothing for this long is closed.
pub const TCP_WRITE_STALL: Duration = Duration::from_secs(5);
/// How long a closed TCP connection is still read from.
pub const TCP_LINGER: Duration = Duration::from_secs(1);
/// At a stop, a new TCP connection may still send its first query for this long, and one that
/// has begun to arrive may become whole.
pub const TCP_LAST_QUERY: Duration = Duration::from_millis(250);
/// At a stop, other TCP connections are looked at this long for what has arrived.
pub const TCP_LAST_LOOK: Duration = Duration::from_millis(10);
/// [`TCP_LINGER`] at a stop.
pub const TCP_LAST_LINGER: Duration = Duration::from_millis(100);
/// A TCP listener that takes no new clients waits this long for handshakes that have begun.
pub const TCP_LAST_ACCEPT: Duration = Duration::from_millis(100);
/// Connections waiting to be accepted, per listening socket.
pub const TCP_BACKLOG: i32 = 511;
/// Each time that addresses are bound, it is looked up for so long in all who has those that cannot
/// be had: on a host of many containers one look may take 300 ms, and there may be many addresses.
pub const OWNER_LOOKS: Duration = Duration::from_secs(1);
/// Pause after an accept that failed (no file descriptors left, say).
pub const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);
/// Batches that are still answered on a socket that closes.
pub const BATCHES_AT_THE_END: usize = 256;
/// Octets of datagrams that may wait in the kernel, on each side of a UDP socket; the system's
/// `net.core.rmem_max` and `wmem_max` may cut it. A burst that does not fit is lost.
pub const UDP_BUFFER: usize = 4 << 20;
/// Batches that one socket may take in a row before other tasks get their turn.
pub const BATCHES_IN_A_ROW: usize = 8;

/// At a stop, the hit log's destination gets this long for what is queued.
pub const LOG_FLUSH: Duration = Duration::from_secs(2);

/// One reply on the control socket, in octets: all exceptions, each as long as can be.
pub const CONTROL_MESSAGE: usize = 64 << 20;
/// Longest status of the other relay of a pair, in octets: more than [`EXCEPTIONS`] take.
pub const PEER_STATUS: usize = 16 << 20;
/// Most sockets that are stored for the process after this one; FileDescriptorStoreMax= of the
/// unit is as much. The service manager drops what is more without a word.
pub const STORED_SOCKETS: usize = 8192;
/// A request on the control socket must be complete within this.
pub const CONTROL_DEADLINE: Duration = Duration::from_secs(30);
/// A command waits this long for a zone to come; then it goes on without the command.
pub const ZONE_COMMAND: Duration = Duration::from_secs(60);
/// The reply to a command that waits for a zone must be there within this.
pub const CONTROL_LONG: Duration = Duration::from_secs(90);
/// The text of a zone must be read within this, each piece of it within `CONTROL_DEADLINE`.
pub const DUMP_DEADLINE: Duration = Duration::from_secs(900);
/// Pieces of a zone's text that wait for their reader.
pub const DUMP_PIECES: usize = 4;
/// Requests on the control socket at a time.
pub const CONTROL_CONNECTIONS: usize = 16;
/// Connections of the status listener at a time.
pub const STATUS_CONNECTIONS: usize = 32;
/// A request to the status listener must be read and answered within this.
pub const STATUS_DEADLINE: Duration = Duration::from_secs(10);

/// How long queries in flight at a stop wait for their upstream; then they get what there is.
pub const STOP_PATIENCE: Duration = Duration::from_secs(1);
/// Queries in flight at a stop get this long in all.
pub const DRAIN: Duration = Duration::from_secs(5);
/// Policy files and interfaces are looked at this often.
pub const WATCH_EVERY: Duration = Duration::from_millis(250);
/// A file that was written to within this time may not be complete yet.
pub const FILE_SETTLES: Duration = Duration::from_millis(200);
/// How far the times of files may lie behind the clock.
pub const FILE_CLOCK: Duration = Duration::from_millis(20);
/// Most exceptions at a time.
pub const EXCEPTIONS: usize = 10_000;
/// Characters of an exception's reason, or of its owner.
pub const EXCEPTION_TEXT: usize = 200;
/// Longest time of an exception that ends by itself.
pub const EXCEPTION_LONGEST: Duration = Duration::from_secs(3650 * 86_400);
/// Octets of the file that keeps the exceptions: all of them, each as long as can be.
pub const EXCEPTIONS_FILE: u64 = 64 << 20;
/// Longest time that policy may be suspended.
pub const SUSPENSION_LONGEST: Duration = Duration::from_secs(24 * 3600);
/// TTL of answers that an exception blocks, in seconds: short, they are made by hand.
pub const EXCEPTION_TTL: u32 = 5;
/// Look-ups of name servers and their addresses for one client's query.
pub const SERVER_LOOKUPS: usize = 64;
/// Names whose servers are looked at for one name: from the top, so that a long name does not
/// hide its zone. The longest reverse name has 33.
pub const SERVER_ZONES: usize = 40;
/// Look-ups of servers that are in flight at a time.
pub const SERVER_LOOKUPS_AT_ONCE: usize = 16;
/// Longest answer about servers that a waiting query holds itself, in octets. Longer ones are
/// looked at if the cache keeps them.
pub const SERVER_ANSWER: usize = 8 << 10;
/// A query waits this long for them; what is missing then counts as no match.
pub const SERVER_WAIT: Duration = Duration::from_secs(1);
/// How long a kept answer is taken to have the name servers that were looked at.
pub const SERVERS_TRUSTED: Duration = Duration::from_secs(5);
/// How long they may go on in the background, for the cache.
pub const SERVER_BACKGROUND: Duration = Duration::from_secs(10);
/// Queries whose look-ups may go on in the background at a time.
pub const SERVER_BACKGROUND_QUERIES: usize = 256;
/// Least time between two lines in the log about name servers that cannot be looked up.
pub const SERVER_LINE_PAUSE: Duration = Duration::from_secs(10);
/// Rules of one zone that an explanation names behind the one that the zone chose.
pub const NEAR_RULES: usize = 8;
/// Records, addresses, or servers of one answer that an explanation shows.
pub const EXPLAINED_RECORDS: usize = 32;
/// How long an explanation looks for a rule's place in its zone's file.
pub const PLACE_SEARCH: Duration = Duration::from_secs(10);
/// Most policy zones: one bit each in the matcher's masks.
pub const POLICY_ZONES: usize = 64;
/// Most groups of clients.
pub const GROUPS: usize = 256;
/// Primaries of one policy zone.
pub const ZONE_PRIMARIES: usize = 16;
/// Addresses of the host of one list on the web.
pub const LIST_ADDRESSES: usize = 64;
/// Most files in the folder of drop-ins beside the configuration file.
pub const DROP_INS: usize = 64;
/// Longest answer to a question of `culvert init`, in octets.
pub const INIT_LINE: u64 = 8192;
/// `culvert init` waits this long for the system's resolver.
pub const INIT_LOOKUP: Duration = Duration::from_secs(10);
/// Most keys for zone transfers.
pub const TSIG_KEYS: usize = 256;
/// Octets of a file with a key's secret, and of a secret as it is written.
pub const TSIG_FILE: u64 = 16 << 10;

/// Records that are shown as they are written, for one rule.
pub const WRITTEN_RECORDS: usize = 100;
/// Characters of a record as it is written.
pub const WRITTEN_TEXT: usize = 200;
/// Records of one owner in a zone transfer that are read as its rule; more are kept, but skipped.
pub const OWNER_RECORDS: usize = 4_096;
/// Records that a zone transfer may have for each rule that the zone may have, and in any case.
pub const TRANSFER_RECORDS: (usize, usize) = (4, 1_000);
/// Examples that the audit of a zone keeps of each kind; the rest are only counted.
pub const AUDIT_EXAMPLES: usize = 1_000;
/// Rules of each kind that a difference between two versions of a zone names.
pub const DIFF_EXAMPLES: usize = 20;

/// Records that became no rule, of which a saved zone keeps the reason.
pub const SAVED_REASONS: usize = 20;
/// Octets of a saved zone; longer files are not read.
pub const SAVED_FILE: u64 = 8 << 30;
/// Damaged copies of one zone that are kept for a look.
pub const SAVED_DAMAGED: usize = 3;
/// How long the copy of a zone is kept that is not in the configuration any more.
pub const SAVED_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// Bounds of the upstream room.
pub mod upstream {
    use std::time::Duration;

    /// Shortest time-out of a try, however fast a backend usually is.
    pub const TRY_TIMEOUT_MIN: Duration = Duration::from_millis(100);
    /// Longest time-out of a try.
    pub const TRY_TIMEOUT_MAX: Duration = Duration::from_millis(1200);
    /// Time-out of a try before anything was measured.
    pub const TRY_TIMEOUT_UNKNOWN: Duration = Duration::from_millis(500);
    /// How long a try without a client may still run.
    pub const ABANDONED_TRY: Duration = Duration::from_secs(10);
    /// Every question has its outcome within this time.
    pub const FETCH_DEADLINE: Duration = Duration::from_millis(3800);
    /// A fetch older than this is not joined any more.
    pub const JOIN_AGE: Duration = Duration::from_secs(2);
    /// Longest DNS message, and so the longest HTTP body.
    pub const BODY_MAX: usize = 65_535;
    /// Sends of one question to one backend (RFC 9520 section 3.1).
    pub const SENDS_PER_BACKEND: u8 = 3;
    /// Sends of one question to a backend that is down.
    pub const SENDS_WHILE_DOWN: u8 = 2;
    /// Sends of one question in all.
    pub const SENDS_TOTAL: u8 = 6;
    /// Questions over DoH are padded to a multiple of this (RFC 8467 section 4.1).
    pub const PADDING_BLOCK: usize = 128;

    /// Hedges in a hundred questions.
    pub const HEDGE_PERCENT: u32 = 2;
    /// Hedges at once after a quiet time.
    pub const HEDGE_BURST: u32 = 10;
    /// No hedge before this.
    pub const HEDGE_MIN: Duration = Duration::from_millis(30);

    /// Pools of connections; more workers share them.
    pub const POOLS: usize = 8;
    /// TCP and TLS must be ready within this time.
    pub const HANDSHAKE: Duration = Duration::from_secs(2);
    /// Connects a second and pool, and for all pools of a backend that is down.
    pub const CONNECTS_PER_SECOND: f64 = 2.0;
    /// Connects at once after a quiet time.
    pub const CONNECT_BURST: u32 = 2;
    /// A connection with so many answers does not count as one of the connects.
    pub const ANSWERS_THAT_PAY: u32 = 16;
    /// Age at which a connection is replaced, give or take a tenth.
    pub const CONNECTION_AGE: Duration = Duration::from_secs(3600);
    /// Streams after which a connection is replaced; ids end at 2^30 of them.
    pub const STREAMS_PER_LIFE: u32 = 1 << 29;
    /// Streams at once on one connection, whatever the peer allows.
    pub const STREAMS_PER_CONNECTION: usize = 1000;
    /// Streams at once before the peer said what it allows. They arrive together with the
    /// preface, and BIND takes more than 1,536 octets before the first stream for a flood.
    pub const STREAMS_UNTIL_SETTINGS: usize = 8;
    /// Receive window of a stream: two of the longest messages.
    pub const STREAM_WINDOW: u32 = 128 << 10;
    /// Receive window of a connection.
    pub const CONNECTION_WINDOW: u32 = 16 << 20;
    /// Octets of response headers.
    pub const HEADER_LIST_MAX: u32 = 16 << 10;
    /// How long a try waits for a stream where all are in use.
    pub const STREAM_WAIT: Duration = Duration::from_secs(1);
    /// How often it looks whether the peer allows more.
    pub const STREAM_POLL: Duration = Duration::from_millis(50);

    /// Least time that an answer to a PING may take.
    pub const PING_PATIENCE_MIN: Duration = Duration::from_millis(200);
    /// Most time that an answer to a PING may take.
    pub const PING_PATIENCE_MAX: Duration = Duration::from_secs(2);
    /// A connection that heard nothing for so long gets a PING with its next request.
    pub const IDLE_BEFORE_PING: Duration = Duration::from_secs(10);
    /// A timer that fires later than this shows that our own thread stood still.
    pub const LATE_TIMER: Duration = Duration::from_millis(100);
    /// Tries in a row that pass their time-out before a connection is replaced.
    pub const SLOW_BEFORE_REPLACED: u32 = 16;
    /// It must also have been without an answer for so long.
    pub const QUIET_BEFORE_REPLACED: Duration = Duration::from_secs(3);

    /// Faults in a row that take a backend out of service.
    pub const FALL: u32 = 2;
    /// Good probes in a row that bring it back.
    pub const RISE: u32 = 2;
    /// Time between good probes of a backend that comes back.
    pub const PROBE_REPEAT: Duration = Duration::from_millis(200);
    /// First pause between probes of a backend that is down.
    pub const PROBE_PAUSE_MIN: Duration = Duration::from_millis(500);
    /// Longest pause where connections fail. With a handshake that waits for a lost packet's
    /// repetition and the second probe, service is back within five seconds.
    pub const PROBE_PAUSE_MAX: Duration = Duration::from_millis(2500);
    /// Longest pause where the service refuses.
    pub const PROBE_PAUSE_SICK: Duration = Duration::from_secs(30);
    /// How long one probe may take.
    pub const PROBE_TIMEOUT: Duration = Duration::from_millis(2500);
    /// Tries without an answer, in a row, that call for a probe.
    pub const SLOW_BEFORE_PROBE: u32 = 3;
    /// A first choice that came back waits so long while a standby serves.
    pub const FAIL_BACK_HOLD: Duration = Duration::from_secs(5);
    /// Longest Retry-After that is honoured.
    pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
    /// Shortest pause after HTTP 429 or 503 without Retry-After.
    pub const OWN_BACK_OFF_MIN: Duration = Duration::from_secs(1);
    /// Longest pause after HTTP 429 or 503 without Retry-After.
    pub const OWN_BACK_OFF_MAX: Duration = Duration::from_secs(60);
    /// Least time between two lines in the log about the state of one backend.
    pub const STATE_LINE_PAUSE: Duration = Duration::from_secs(10);
    /// A measured latency counts half after so long without a new one.
    pub const LATENCY_FADES: Duration = Duration::from_secs(5);
    /// Faster than this, backends are taken to be equal, in microseconds.
    pub const LATENCY_FLOOR_US: u64 = 1000;

    /// Tries that the share of failures is taken of, the newest ones.
    pub const SHARE_WINDOW: usize = 32;
    /// Older tries do not count.
    pub const SHARE_AGE: Duration = Duration::from_secs(20);
    /// Fewer tries prove nothing.
    pub const SHARE_TRIES: usize = 20;
    /// Fewer names that failed prove nothing.
    pub const SHARE_NAMES: usize = 8;
    /// Fewer tries of a peer are no measure for others.
    pub const SHARE_PEER_TRIES: usize = 5;
    /// Tries of which more than half were reset or garbled.
    pub const SHARE_HARD_TRIES: usize = 10;
    /// How long a backend that does worse than its peers is left out; doubles up to 16 times.
    pub const WORSE_PAUSE: Duration = Duration::from_secs(10);
    /// In service for so long, a backend starts with the shortest pause again.
    pub const WORSE_FORGET: Duration = Duration::from_secs(300);

    /// Shortest time-out of a try over plain DNS: one lost packet costs this much.
    pub const PLAIN_TIMEOUT_MIN: Duration = Duration::from_millis(300);
    /// Largest answer asked for over UDP: no fragments (DNS flag day 2020).
    pub const PLAIN_PAYLOAD: u16 = 1232;
    /// Octets of an answer over UDP that are read, should a server not keep to it.
    pub const PLAIN_BUFFER: usize = 4096;
    /// How long a socket waits for an answer.
    pub const PLAIN_TRY_MAX: Duration = Duration::from_secs(4);
    /// How long TCP may take for an answer that was truncated.
    pub const PLAIN_TCP_MAX: Duration = Duration::from_secs(3);
    /// Sockets open at once to one plain server.
    pub const PLAIN_SOCKETS: usize = 1024;
    /// Random ports that are tried before the system chooses.
    pub const PLAIN_PORT_TRIES: usize = 4;
}

/// Bounds of downloads over HTTPS.
pub mod download {
    use std::time::Duration;

    /// Redirects that are followed, one after the other.
    pub const REDIRECTS: usize = 5;
    /// Addresses of one host that are tried.
    pub const ADDRESSES: usize = 8;
    /// TCP must be ready within this time, and TLS within as much again.
    pub const CONNECT: Duration = Duration::from_secs(10);
    /// The answer's head must be complete within this time after the request.
    pub const HEAD: Duration = Duration::from_secs(30);
    /// Octets of the answer's head.
    pub const HEAD_OCTETS: usize = 16 << 10;
    /// Fields of the answer's head.
    pub const HEAD_FIELDS: usize = 100;
    /// Octets that are read at once.
    pub const READ_BUFFER: usize = 64 << 10;
    /// A body of which nothing arrives for so long is given up.
    pub const STALL: Duration = Duration::from_secs(30);
    /// In each span of this length ...
    pub const WINDOW: Duration = Duration::from_secs(60);
    /// ... so many octets of the body must arrive, 1 KiB a second or so.
    pub const WINDOW_OCTETS: u64 = 64 << 10;
    /// Longest time of one download with all redirects and addresses: 1 GiB at 50 KiB a second.
    pub const WHOLE: Duration = Duration::from_secs(6 * 3600);
    /// Octets of a published checksum's page.
    pub const CHECKSUM_OCTETS: u64 = 64 << 10;
    /// Longest ETag or Last-Modified that is kept, in octets.
    pub const VALIDATOR: usize = 1024;
    /// Longest Retry-After that is honoured.
    pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
}

/// Bounds of zone transfers.
pub mod transfer {
    use std::time::Duration;

    /// TCP must be connected within this time, and TLS within as much again.
    pub const CONNECT: Duration = Duration::from_secs(5);
    /// A transfer without a complete message for this long has stalled.
    pub const STALL: Duration = Duration::from_secs(30);
    /// The answer about the SOA must come within this time.
    pub const SOA_ANSWER: Duration = Duration::from_secs(10);
    /// What follows a lone SOA that may mean "no changes here" must come within this time.
    pub const LONE_SOA: Duration = Duration::from_secs(5);
    /// In this much time of waiting for a primary ...
    pub const PACE_WINDOW: Duration = Duration::from_secs(300);
    /// ... so many octets must have come: one every 30 ms keeps no transfer alive for ever.
    pub const PACE_OCTETS: u64 = 10_240;
    /// Longest time of one transfer, however steadily it goes on.
    pub const LONGEST: Duration = Duration::from_secs(2 * 3600);
    /// Longest message, in octets (RFC 1035 section 4.2.2).
    pub const MESSAGE: usize = 65_535;
}

/// Bounds of the supply: zones that come from other hosts.
pub mod supply {
    use std::time::Duration;

    /// Shortest time between looks at a source, whatever its SOA asks for.
    pub const REFRESH_MIN: Duration = Duration::from_secs(10);
    /// Longest time between looks at a source.
    pub const REFRESH_MAX: Duration = Duration::from_secs(7 * 86_400);
    /// First pause after a look that failed, and the least pause between looks that nobody's
    /// command asks for.
    pub const RETRY_MIN: Duration = Duration::from_secs(1);
    /// Longest pause after a look that failed.
    pub const RETRY_MAX: Duration = Duration::from_secs(300);
    /// Longest time until a zone without contact counts as expired.
    pub const EXPIRE_MAX: Duration = Duration::from_secs(366 * 86_400);
    /// The first looks of zones with a saved copy are spread over this time after a start.
    pub const FIRST_LOOKS: Duration = Duration::from_secs(5);

    /// Least time between two writings of one zone's last good copy: what comes meanwhile, an
    /// incremental transfer brings again after a crash.
    pub const SAVE_PAUSE: Duration = Duration::from_secs(10);

    /// Least time between two lines in the log about NOTIFYs of one zone that are refused, in
    /// seconds.
    pub const NOTIFY_LINE_PAUSE: u64 = 10;

    /// A version is judged by the gate if it, or the one before it, has more rules than this.
    pub const GATE_FROM: usize = 10_000;
    /// Rules of one kind that the gate names; the rest are only counted.
    pub const GATE_NAMED: usize = 5;
    /// Rules over top-level names that are compared with those of the version before.
    pub const GATE_TOP_LEVEL: usize = 2_000;
}

const _: () = assert!(STALE_AFTER.as_millis() < ANSWER_DEADLINE.as_millis());
const _: () = assert!(ANSWER_MARGIN.as_millis() < STALE_AFTER.as_millis());
const _: () =
    assert!(ANSWER_DEADLINE.as_millis() + PLACE_SEARCH.as_millis() < CONTROL_DEADLINE.as_millis());
const _: () = assert!(ZONE_COMMAND.as_millis() < CONTROL_LONG.as_millis());
const _: () =
    assert!(CONTROL_LONG.as_millis() + CONTROL_DEADLINE.as_millis() < DUMP_DEADLINE.as_millis());
const _: () = assert!(SERVER_ZONES + 2 * 12 <= SERVER_LOOKUPS);
const _: () = assert!(DRAIN.as_millis() >= ANSWER_DEADLINE.as_millis());
const _: () = assert!(upstream::FETCH_DEADLINE.as_millis() < ANSWER_DEADLINE.as_millis());
const _: () = assert!(upstream::SENDS_PER_BACKEND <= upstream::SENDS_TOTAL);
const _: () = assert!(transfer::CONNECT.as_millis() < transfer::STALL.as_millis());
const _: () = assert!(transfer::LONE_SOA.as_millis() < transfer::STALL.as_millis());
const _: () = assert!(transfer::STALL.as_millis() < transfer::PACE_WINDOW.as_millis());
const _: () = assert!(transfer::PACE_WINDOW.as_millis() < transfer::LONGEST.as_millis());
const _: () = assert!(supply::RETRY_MIN.as_millis() < supply::REFRESH_MIN.as_millis());
const _: () = assert!(
    supply::REFRESH_MAX.as_millis() + supply::RETRY_MAX.as_millis()
        < supply::EXPIRE_MAX.as_millis()
);
