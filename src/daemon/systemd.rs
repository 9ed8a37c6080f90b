//! systemd and signals: readiness, reload, watchdog, stop, sockets that outlive the process.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Relay, half};
use crate::dns::compose::upstream_query;
use crate::dns::flag;
use crate::dns::question::Question;
use crate::dns::rtype;
use crate::listener::{Inherited, Store, is_stored};
use crate::sys;

/// How long the relay may take to answer the watchdog.
const WATCHDOG_ANSWER: Duration = Duration::from_secs(2);

/// How long the service manager may take to read a message about a socket.
const STORE_ANSWER: Duration = Duration::from_millis(500);

fn notify(state: &[NotifyState<'_>]) {
    // without systemd there is nobody to tell
    let _ = sd_notify::notify(state);
}

/// Listening, and policy is in force.
pub(super) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What is served now, for `systemctl status`.
pub(super) fn status(status: &str) {
    notify(&[NotifyState::Status(status)]);
}

/// On the way down.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Listening sockets of the process before this one, and of a socket unit. What is no listening
/// socket is told and closed; the store lets go of it, too, since nobody would ever read it there.
pub(super) fn inherited(store: Option<&dyn Store>) -> Vec<Inherited> {
    let known = sys::inherited().into_iter().filter_map(|(fd, name)| {
        let fault = match Inherited::new(fd, name.clone()) {
            Ok(socket) => return Some(socket),
            Err(fault) => fault,
        };
        tracing::warn!("{fault}");
        if let Some(store) = store.filter(|_| is_stored(&name)) {
            store.forget(&name);
        }
        None
    });
    known.collect()
}

/// Where sockets are kept for the next process (sd_notify(3) `FDSTORE=1`), if somebody listens.
pub(super) fn store() -> Option<Box<dyn Store>> {
    std::env::var_os("NOTIFY_SOCKET")?;
    let (messages, inbox) = mpsc::channel::<Message>();
    let sending = move || inbox.into_iter().for_each(|message| message());
    std::thread::Builder::new().name("store".to_owned()).spawn(sending).ok()?;
    Some(Box::new(FdStore { messages, failed: AtomicBool::new(false) }))
}

/// Sends one message; it may take as long as the service manager does not listen.
type Message = Box<dyn FnOnce() + Send>;

/// The service manager's store of descriptors. A thread of its own sends to it, as a send waits
/// for ever if nobody reads.
struct FdStore {
    messages: mpsc::Sender<Message>,
    /// One failure is enough: it is told once, and nobody waits for a second one.
    failed: AtomicBool,
}

impl FdStore {
    fn send(&self, message: impl FnOnce() -> std::io::Result<()> + Send + 'static) -> bool {
        if self.failed.load(Ordering::Relaxed) {
            return false;
        }
        let (done, outcome) = mpsc::channel();
        // who waited may have given up
        let message = Box::new(move || drop(done.send(message())));
        let sent = self.messages.send(message).is_ok();
        let reason = match outcome.recv_timeout(STORE_ANSWER) {
            Ok(Ok(())) if sent => return true,
            Ok(Err(e)) => e.to_string(),
            _ => "it does not read its messages".to_owned(),
        };
        if !self.failed.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "systemd keeps no more sockets, so a restart may lose queries: {reason}"
            );
        }
        false
    }
}

impl Store for FdStore {
    fn keep(&self, name: &str, socket: BorrowedFd<'_>) -> bool {
        let Ok(socket) = socket.try_clone_to_owned() else { return false };
        let name = name.to_owned();
        self.send(move || {
            // an error on the socket is no reason to drop it
            let unwatched = NotifyState::Custom("FDPOLL=0");
            let state = [NotifyState::FdStore, NotifyState::FdName(&name), unwatched];
            sd_notify::notify_with_fds(&state, &[socket.as_fd()])
        })
    }

    fn forget(&self, name: &str) {
        let name = name.to_owned();
        self.send(move || {
            sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name)])
        });
    }
}

/// The signals that mean something here.
pub(super) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to listen: from here on none of them ends the process by itself.
    pub(super) fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Reloads at SIGHUP until SIGTERM, SIGINT or `stop`.
    pub(super) async fn until_stopped(
        &mut self,
        relay: &Arc<Relay>,
        stop: &mut watch::Receiver<bool>,
    ) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => tokio::select! {
                    () = reload(relay) => {}
                    // a load that hangs on a dead file system must not keep the relay from ending
                    () = self.stop() => return,
                },
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Waits for the next SIGTERM or SIGINT.
    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn reload(relay: &Arc<Relay>) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
    relay.road.reporter().reopen();
    // the outcome is in the log and in the status
    let _ = relay.reload().await;
    ready(&relay.in_brief());
}

/// Feeds systemd's watchdog as long as every worker takes a query down the road. The query never
/// leaves: it does not ask for recursion, and its name is local. Sockets and access list are left
/// out, so that neither an address that is elsewhere just now nor a strict list looks like death.
pub(super) async fn feed_watchdog(relay: Arc<Relay>) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    loop {
        match timeout(WATCHDOG_ANSWER, answers(&relay)).await {
            Ok(true) => notify(&[NotifyState::Watchdog]),
            _ => tracing::error!(
                event = "worker-stuck",
                "a worker does not answer the watchdog's query"
            ),
        }
        tokio::time::sleep(half(limit)).await;
    }
}

async fn answers(relay: &Relay) -> bool {
    let Ok(name) = "localhost".parse() else { return false };
    let mut query = upstream_query(&Question::plain(name, rtype::A), fastrand::u16(..), 1232, None);
    query[2] &= !((flag::RD >> 8) as u8);
    let workers = relay.probe_workers(&query);
    !workers.is_empty() && futures_util::future::join_all(workers).await.iter().all(Result::is_ok)
}
