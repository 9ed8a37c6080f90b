//! Extended DNS errors (RFC 8914): why an answer is what it is.

/// Info codes that Culvert gives.
pub mod code {
    /// Something else.
    pub const OTHER: u16 = 0;
    /// A stale answer was given.
    pub const STALE: u16 = 3;
    /// The answer is made up by policy.
    pub const FORGED: u16 = 4;
    /// A cached failure.
    pub const CACHED_ERROR: u16 = 13;
    /// The server is not ready yet.
    pub const NOT_READY: u16 = 14;
    /// Blocked by the operator's policy.
    pub const BLOCKED: u16 = 15;
    /// Blocked by an outside order.
    pub const CENSORED: u16 = 16;
    /// Filtered at the client's request.
    pub const FILTERED: u16 = 17;
    /// The client may not ask here.
    pub const PROHIBITED: u16 = 18;
    /// A stale NXDOMAIN was given.
    pub const STALE_NXDOMAIN: u16 = 19;
    /// No upstream could be reached.
    pub const NO_REACHABLE_AUTHORITY: u16 = 22;
    /// The transport to the upstream failed.
    pub const NETWORK_ERROR: u16 = 23;
}

/// One extended error: its code and an explanation (UTF-8, may be empty).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ede<'a> {
    /// Info code.
    pub code: u16,
    /// Extra text for people.
    pub text: &'a str,
}

impl<'a> Ede<'a> {
    /// An extended error with a text.
    pub fn new(code: u16, text: &'a str) -> Self {
        Ede { code, text }
    }
}
