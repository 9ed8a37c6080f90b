//! Follows what changes by itself: policy files, and the addresses of this host.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Relay;
use crate::limits;
use crate::sys::AddressWatch;

/// Addresses are looked at this often even if nobody says that they changed: one that could not
/// be bound may be free now.
const ADDRESSES_ANYWAY: Duration = Duration::from_secs(5);

/// Runs until dropped.
pub(super) async fn run(relay: Arc<Relay>) {
    let watch = AddressWatch::open();
    if let Err(e) = &watch {
        tracing::warn!("changes of addresses are seen late: {e}");
    }
    let mut looks = interval(limits::WATCH_EVERY);
    let mut addresses = interval(ADDRESSES_ANYWAY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {
                if relay.zones_changed() {
                    relay.refresh_zones().await;
                }
                // a change that cannot be read is a change
                if watch.as_ref().is_ok_and(|watch| watch.drain().unwrap_or(true)) {
                    relay.follow_addresses();
                }
            }
            _ = addresses.tick() => relay.follow_addresses(),
        }
    }
}
