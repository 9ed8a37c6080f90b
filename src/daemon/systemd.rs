//! systemd and signals: readiness, reload, watchdog, stop.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::net::UdpSocket;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Relay, half};
use crate::dns::compose::upstream_query;
use crate::dns::flag;
use crate::dns::question::Question;
use crate::dns::rtype;

/// How long the relay may take to answer the watchdog.
const WATCHDOG_ANSWER: Duration = Duration::from_secs(2);

fn notify(state: &[NotifyState<'_>]) {
    // without systemd there is nobody to tell
    let _ = sd_notify::notify(state);
}

/// Listening, and policy is in force.
pub(super) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// On the way down.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Reloads at SIGHUP until SIGTERM, SIGINT or `stop`.
pub(super) async fn signals(relay: &Arc<Relay>, stop: &mut watch::Receiver<bool>) {
    let (Ok(mut hangup), Ok(mut terminate), Ok(mut interrupt)) = (
        listen(SignalKind::hangup()),
        listen(SignalKind::terminate()),
        listen(SignalKind::interrupt()),
    ) else {
        tracing::error!("signals cannot be received");
        return;
    };
    loop {
        tokio::select! {
            _ = hangup.recv() => reload(relay).await,
            _ = terminate.recv() => return,
            _ = interrupt.recv() => return,
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Waits for one more SIGTERM or SIGINT.
pub(super) async fn second_signal() {
    match (listen(SignalKind::terminate()), listen(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        },
        _ => std::future::pending().await,
    }
}

fn listen(kind: SignalKind) -> std::io::Result<Signal> {
    signal(kind)
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

/// Feeds systemd's watchdog as long as a query through the road is answered. The query never
/// leaves: it does not ask for recursion, and its name is local.
pub(super) async fn feed_watchdog(relay: Arc<Relay>) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    loop {
        if answers(&relay).await {
            notify(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("the relay does not answer its own watchdog query");
        }
        tokio::time::sleep(half(limit)).await;
    }
}

/// Any reply at all, a refusal included, shows that a worker is alive.
async fn answers(relay: &Relay) -> bool {
    let ports = relay.port_status();
    let Some(port) = ports.iter().find(|port| port.udp == "listening") else { return false };
    let mut to = port.address;
    if to.ip().is_unspecified() {
        to.set_ip(match to.ip() {
            IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let from = SocketAddr::new(to.ip(), 0);
    let Ok(name) = "localhost".parse() else { return false };
    let mut query = upstream_query(&Question::plain(name, rtype::A), fastrand::u16(..), 1232, None);
    query[2] &= !((flag::RD >> 8) as u8);
    let ask = async {
        let socket = UdpSocket::bind(from).await?;
        socket.connect(to).await?;
        socket.send(&query).await?;
        let mut reply = [0; 512];
        socket.recv(&mut reply).await
    };
    matches!(timeout(WATCHDOG_ANSWER, ask).await, Ok(Ok(1..)))
}
