//! The usual arrangements: a relay before one scripted backend, or before two.

use super::backend::Backend;
use super::conf::Conf;
use super::relay::Relay;
use super::script::Script;
use super::tls::Tls;
use super::wire::{A, Message};
use super::world::address_of;

/// A relay before one backend.
pub struct Stage {
    pub relay: Relay,
    pub backend: Backend,
    pub tls: Tls,
}

impl Stage {
    #[track_caller]
    pub fn new() -> Stage {
        Stage::with(|conf| conf)
    }

    /// A stage whose configuration is changed before the start.
    #[track_caller]
    pub fn with(change: impl FnOnce(Conf) -> Conf) -> Stage {
        let tls = Tls::new();
        let backend = Backend::start(&tls);
        let relay = change(Conf::before(&tls, &[&backend])).start();
        Stage { relay, backend, tls }
    }

    /// A stage whose backend does this with every request.
    #[track_caller]
    pub fn doing(script: Script) -> Stage {
        let stage = Stage::new();
        stage.backend.set(script);
        stage
    }
}

/// A relay before two backends of one service.
pub struct Pair {
    pub relay: Relay,
    pub first: Backend,
    pub second: Backend,
    _tls: Tls,
}

impl Pair {
    #[track_caller]
    pub fn new() -> Pair {
        let tls = Tls::new();
        let (first, second) = (Backend::start(&tls), Backend::start(&tls));
        let relay = Conf::before(&tls, &[&first, &second]).start();
        Pair { relay, first, second, _tls: tls }
    }
}

/// The honest answer for a name that only has its made-up address.
#[track_caller]
pub fn assert_right(reply: &Message, name: &str) {
    assert_eq!(reply.rcode(), "NOERROR", "{name}: {reply:?}");
    assert_eq!(reply.data(A), [address_of(name)], "{name}: {reply:?}");
}

/// SERVFAIL without records, with one of these extended errors.
#[track_caller]
pub fn assert_failed(reply: &Message, errors: &[u16]) {
    assert_eq!(reply.rcode(), "SERVFAIL", "{reply:?}");
    assert!(reply.answers.is_empty(), "{reply:?}");
    let given = reply.extended_errors();
    assert!(given.iter().any(|e| errors.contains(e)), "EDE {given:?}, expected one of {errors:?}");
}
