//! The client of zone transfers: AXFR (RFC 5936), IXFR (RFC 1995), over TCP or TLS (RFC 9103),
//! signed or not (RFC 8945).
//!
//! ```text
//!   Session::connect ─► serial()  the primary's SOA
//!                    └► fetch()   have: Some(serial) asks for changes, None for all
//!
//!   stream    TCP or TLS, messages behind their lengths; clocks and octets are bounded
//!     │  message
//!     ├─► dns::tsig::Sequence    is it the primary's?          (pure)
//!     └─► framing                what of the answer is it?     (pure)
//!           │  record                 serial: which is newer   (pure)
//!           ▼
//!         Taker   who puts the zone together
//! ```
//!
//! What a taker got is good only when `fetch` gives no failure: a record may stand in an
//! envelope that only a later one vouches for, and the end of a transfer must match its
//! beginning.

mod client;
mod failure;
pub mod framing;
mod request;
pub mod serial;
mod stream;

pub use self::client::{Ask, Fetched, Session, fetch, serial};
pub use self::failure::{Failure, NoChanges, Why};
pub use self::framing::{Rr, Soa, Stop, Taker};
pub use self::stream::Patience;
