//! The connections of a backend: one open connection and one handshake at a time for each pool.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Backend;
use crate::upstream::budget::ConnectBudget;
use crate::upstream::connection::{self, Connection, Endpoint, NoStream, Room, StreamPermit};
use crate::upstream::failure::{Fault, Stage};
use crate::upstream::health::Event;
use crate::upstream::{limits, locked};

/// The connections of one worker (or of several that share a pool) to one backend.
pub(super) struct Pool {
    pub(super) state: Mutex<PoolState>,
    /// Something about the connection changed.
    changed: Notify,
    room: Arc<Room>,
}

pub(super) struct PoolState {
    pub(super) current: Option<Arc<Connection>>,
    /// A handshake is under way.
    connecting: bool,
    /// Handshakes that ended, and how the last one did.
    ended: u64,
    last: Option<Fault>,
    budget: ConnectBudget,
}

impl Backend {
    /// A stream at once, if the pool's connection is open and has one.
    pub(in crate::upstream) fn stream_now(&self, pool: usize) -> Option<StreamPermit> {
        let state = locked(&self.pools[pool].state);
        state.current.as_ref()?.permit().ok()
    }

    /// A stream on the pool's connection, which is opened if need be. Waits for a handshake
    /// that is under way, and a bounded time for a stream.
    pub(in crate::upstream) async fn stream(
        self: &Arc<Self>,
        pool: usize,
    ) -> Result<StreamPermit, Fault> {
        let full_until = Instant::now() + limits::STREAM_WAIT;
        let place = &self.pools[pool];
        let mut waits_for = None;
        loop {
            let changed = place.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.look_for_stream(pool, waits_for) {
                Look::Stream(permit) => return Ok(permit),
                Look::Failed(fault) => return Err(fault),
                Look::Handshake(number) => {
                    waits_for = Some(number);
                    changed.await;
                }
                Look::Later(wait) => tokio::time::sleep(wait).await,
                Look::Full => {
                    if Instant::now() >= full_until {
                        return Err(Fault::Busy);
                    }
                    place.room.wait(limits::STREAM_POLL).await;
                }
            }
        }
    }

    /// One look at the pool. Starts a handshake if there is no connection and none under way.
    fn look_for_stream(self: &Arc<Self>, pool: usize, waits_for: Option<u64>) -> Look {
        let now = Instant::now();
        let mut state = locked(&self.pools[pool].state);
        if let Some(connection) = &state.current {
            match connection.permit() {
                Ok(permit) => return Look::Stream(permit),
                Err(NoStream::Full) => return Look::Full,
                Err(NoStream::Over) => state.let_go(now),
            }
        }
        if state.connecting {
            return Look::Handshake(state.ended + 1);
        }
        if let Some(number) = waits_for.filter(|number| state.ended >= *number) {
            let last = state.last.clone().filter(|_| number == state.ended);
            if let Some(fault) = last {
                return Look::Failed(fault);
            }
        }
        let up = self.is_up();
        if !state.budget.take(now) {
            // up: the wait is short, and the question may still be saved
            return if up {
                Look::Later(state.budget.wait(now).max(Duration::from_millis(1)))
            } else {
                Look::Failed(state.last.clone().unwrap_or(Fault::ConnectLimit))
            };
        }
        if !up && !locked(&self.connects_down).take(now) {
            return Look::Failed(state.last.clone().unwrap_or(Fault::ConnectLimit));
        }
        let Some(endpoint) = self.endpoint.clone() else { return Look::Failed(Fault::Internal) };
        state.connecting = true;
        let number = state.ended + 1;
        drop(state);
        let attempt = Attempt { backend: Arc::downgrade(self), pool, fault: Some(Fault::Internal) };
        let room = self.pools[pool].room.clone();
        tokio::spawn(run_connection(endpoint, room, attempt));
        Look::Handshake(number)
    }

    /// A connection of this backend went silent: the others may be dead, too.
    fn suspect_all(&self) {
        for pool in &self.pools {
            if let Some(connection) = &locked(&pool.state).current {
                connection.want_ping();
            }
        }
    }
}

/// What one look at a pool found.
enum Look {
    Stream(StreamPermit),
    /// The handshake of this number is under way.
    Handshake(u64),
    /// Connecting is allowed again after so long.
    Later(Duration),
    Full,
    Failed(Fault),
}

impl Pool {
    /// No connection yet.
    pub(super) fn new(now: Instant) -> Self {
        Pool {
            state: Mutex::new(PoolState {
                current: None,
                connecting: false,
                ended: 0,
                last: None,
                budget: ConnectBudget::new(now, limits::CONNECT_BURST),
            }),
            changed: Notify::new(),
            room: Arc::default(),
        }
    }
}

impl PoolState {
    /// Hands out no more streams of the present connection; it ends when the last one has.
    fn let_go(&mut self, now: Instant) {
        if let Some(connection) = self.current.take() {
            connection.retire();
            if connection.answered() >= limits::ANSWERS_THAT_PAY {
                self.budget.give_back(now);
            }
        }
    }
}

impl Room {
    /// Until a stream is free, or `most` is over: the peer may also raise its limit silently.
    async fn wait(&self, most: Duration) {
        self.waiting.fetch_add(1, Relaxed);
        let _guard = Leave(self);
        let _ = tokio::time::timeout(most, self.free.notified()).await;
    }
}

/// Leaves the queue even if the waiting future is dropped.
struct Leave<'a>(&'a Room);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

/// A handshake under way. However its task ends, the waiters are told.
struct Attempt {
    backend: Weak<Backend>,
    pool: usize,
    /// What went wrong; `None` once there is a connection.
    fault: Option<Fault>,
}

impl Attempt {
    /// The handshake led to a connection.
    fn succeeded(mut self, connection: &Arc<Connection>) {
        self.fault = None;
        if let Some(backend) = self.backend.upgrade() {
            let pool = &backend.pools[self.pool];
            let mut state = locked(&pool.state);
            state.current = Some(connection.clone());
            state.connecting = false;
            state.ended += 1;
            state.last = None;
            drop(state);
            pool.changed.notify_waiters();
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let Some(fault) = self.fault.take() else { return };
        let Some(backend) = self.backend.upgrade() else { return };
        // health first: a waiter that tries again must see the new state
        backend.report(Event::Failed(fault.clone()));
        let pool = &backend.pools[self.pool];
        let mut state = locked(&pool.state);
        state.connecting = false;
        state.ended += 1;
        state.last = Some(fault);
        drop(state);
        pool.changed.notify_waiters();
    }
}

/// The task of one connection: handshake, then the connection's life.
async fn run_connection(endpoint: Arc<Endpoint>, room: Arc<Room>, mut attempt: Attempt) {
    let deadline = Instant::now() + limits::HANDSHAKE;
    let (backend, pool) = (attempt.backend.clone(), attempt.pool);
    let opened = match connection::secure(&endpoint, deadline).await {
        Ok(secured) => tokio::time::timeout_at(deadline.into(), connection::start(secured, room))
            .await
            .unwrap_or(Err(Fault::Handshake(Stage::Tls))),
        Err(fault) => Err(fault),
    };
    let (connection, driver) = match opened {
        Ok(opened) => opened,
        Err(fault) => {
            attempt.fault = Some(fault);
            return;
        }
    };
    attempt.succeeded(&connection);
    let mine = Arc::downgrade(&connection);
    drop(connection);
    let end = driver.await;
    let Some(backend) = backend.upgrade() else { return };
    let place = &backend.pools[pool];
    let mut state = locked(&place.state);
    if state.current.as_ref().is_some_and(|c| std::ptr::eq(Arc::as_ptr(c), mine.as_ptr())) {
        state.let_go(Instant::now());
    }
    drop(state);
    if let Some(fault) = end {
        if fault == Fault::PathDead {
            backend.suspect_all();
        }
        backend.report(Event::Failed(fault));
    }
    place.changed.notify_waiters();
}
