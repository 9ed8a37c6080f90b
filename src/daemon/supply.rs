//! The supply of zones from elsewhere: their keepers on a thread of their own, the gate before
//! their versions, and what an operator can do about them.
//!
//! ```text
//!   keeper ─► offer ─► gate: rules ─► policy set built ─► gate: canaries ─► renew_policy
//!                        └─► held: nothing changes
//! ```

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::{Basis, Current, Relay, Trouble, free, off_thread};
use crate::config::{Settings, UpstreamKind};
use crate::dns::name::Name;
use crate::limits;
use crate::policy::rules::ZoneRules;
use crate::policy::set::PolicySet;
use crate::sys;
use crate::zones::download::Resolver;
use crate::zones::gate::{Gate, Guarded};
use crate::zones::{Enforcer, Keeper, Later, Look, Offer, Promoted, Remote, Source, Verdict};

/// The thread on which keepers run, at lower priority.
pub(super) struct Supply {
    handle: Handle,
    /// Ends the thread when it is dropped.
    _stop: oneshot::Sender<()>,
}

/// A keeper that runs.
pub(super) struct Kept {
    source: Source,
    remote: Arc<Remote>,
    task: AbortHandle,
}

impl Supply {
    /// Starts the thread.
    pub(super) fn start() -> std::io::Result<Supply> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new().name("supply".to_owned()).spawn(move || {
            sys::lower_priority();
            // an error says that the other end is gone, which is the wish
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        })?;
        Ok(Supply { handle, _stop: stop })
    }
}

/// The relay as its keepers see it: gone when it is.
struct Owner {
    relay: Weak<Relay>,
    /// Where look-ups of list hosts run.
    main: Handle,
}

impl Enforcer for Owner {
    fn in_force(&self, zone: &Name) -> Option<(Arc<ZoneRules>, u64)> {
        let relay = self.relay.upgrade()?;
        let current = relay.lock();
        current.zones.in_force(zone)
    }

    fn offer(
        &self,
        zone: Name,
        rules: Arc<ZoneRules>,
        offer: Offer,
    ) -> Later<Result<Verdict, String>> {
        let Some(relay) = self.relay.upgrade() else { return Box::pin(async { Err(going()) }) };
        // a task of its own: the keeper may be busy with something else meanwhile
        let task = tokio::spawn(async move { relay.offered(zone, rules, offer).await });
        Box::pin(async { task.await.unwrap_or_else(|_| Err(going())) })
    }

    fn renew(&self) -> Later<()> {
        let Some(relay) = self.relay.upgrade() else { return Box::pin(async {}) };
        let task = tokio::spawn(async move { relay.renew_modes().await });
        Box::pin(async {
            // a panic in there was told by the hook
            let _ = task.await;
        })
    }

    fn resolver(&self) -> Arc<dyn Resolver> {
        Arc::new(super::lookup::OwnUpstream {
            relay: Weak::clone(&self.relay),
            main: self.main.clone(),
        })
    }

    fn state_folder(&self) -> PathBuf {
        self.relay.upgrade().map_or_else(PathBuf::new, |relay| relay.state_folder.clone())
    }
}

fn going() -> String {
    "the relay is stopping".to_owned()
}

impl Relay {
    /// Starts keepers for zones that are new or have changed, ends those of zones that are gone.
    pub(super) fn adopt_keepers(self: &Arc<Self>) {
        let mut current = self.lock();
        let mut old = std::mem::take(&mut current.keepers);
        let wanted: Vec<(Source, Arc<Remote>)> = {
            let zones = current.zones.remotes();
            zones.map(|(source, remote)| (source.clone(), Arc::clone(remote))).collect()
        };
        for (source, remote) in wanted {
            let same = |kept: &Kept| kept.source == source && Arc::ptr_eq(&kept.remote, &remote);
            let kept = match old.iter().position(same) {
                Some(at) => old.swap_remove(at),
                None => {
                    // not two at a time on one zone
                    old.retain(|kept| {
                        let other = !Arc::ptr_eq(&kept.remote, &remote);
                        if !other {
                            kept.task.abort();
                        }
                        other
                    });
                    let owner = Owner { relay: Arc::downgrade(self), main: Handle::current() };
                    let keeper = Keeper {
                        source: source.clone(),
                        remote: Arc::clone(&remote),
                        enforcer: Arc::new(owner),
                    };
                    let task = self.supply.handle.spawn(keeper.run()).abort_handle();
                    Kept { source, remote, task }
                }
            };
            current.keepers.push(kept);
        }
        for kept in old {
            kept.task.abort();
        }
    }

    /// A version of a zone came: judged, and put into force.
    async fn offered(
        self: Arc<Self>,
        zone: Name,
        rules: Arc<ZoneRules>,
        offer: Offer,
    ) -> Result<Verdict, String> {
        let _one_at_a_time = self.reloading.lock().await;
        let relay = Arc::clone(&self);
        let offered = off_thread(move || relay.judge_version(&zone, rules, offer));
        offered.await.map_err(|trouble| trouble.to_string())
    }

    fn judge_version(
        &self,
        zone: &Name,
        rules: Arc<ZoneRules>,
        offer: Offer,
    ) -> Result<Verdict, Trouble> {
        let gone = || Trouble::System(format!("zone {zone} is not configured any more"));
        let (zones, terms, settings) = {
            let current = self.lock();
            (current.zones.clone(), current.terms(), current.settings.clone())
        };
        let (source, old) = zones.find(zone).ok_or_else(gone)?;
        let old = zones.in_force(zone).map(|_| Arc::clone(old));
        if let Offer::New(over) = offer
            && over != old.as_ref().map(|old| old.id())
        {
            let text = "another version took effect while this one came; it is looked at again";
            return Err(Trouble::System(text.to_owned()));
        }
        let judges = offer != Offer::Accepted;
        let judged = gate(&settings, source).judge(old.as_deref(), &rules, &source.settings);
        let only_loss = judged.is_loss_only();
        let mut reasons: Vec<String> = judged.held.iter().map(ToString::to_string).collect();
        let next = zones.with_rules(zone, Arc::clone(&rules)).ok_or_else(gone)?;
        if judges && !reasons.is_empty() {
            return Ok(Verdict::Held { reasons, only_loss });
        }
        sys::return_memory();
        let before = self.road.snapshot();
        // the long part, before anything is locked
        let policy = next.policy(0, &terms, Some(&before.policy));
        let size = old.as_ref().map_or(0, |old| old.len()).max(rules.len());
        if judges && size > limits::supply::GATE_FROM {
            reasons = canaries(&settings, &before.policy, &policy);
            if !reasons.is_empty() {
                return Ok(Verdict::Held { reasons, only_loss: false });
            }
        }
        drop(before);
        let basis = Basis::Zones(Arc::new(policy));
        let (old, generation) = self.renew_policy(basis, |current| current.zones = next);
        if let Some(remote) = zones.remote(zone) {
            remote.entered(judged.warnings.clone());
        }
        free(old);
        Ok(Verdict::InForce { generation, warnings: judged.warnings })
    }

    /// The same rules under other modes.
    async fn renew_modes(self: Arc<Self>) {
        let _one_at_a_time = self.reloading.lock().await;
        let relay = Arc::clone(&self);
        off_thread(move || {
            let (old, generation) = relay.renew_policy(Basis::Same, |_| {});
            tracing::info!("policy generation {generation} is in force");
            free(old);
        })
        .await;
    }

    /// Looks at a zone's source now; waits for what comes of it, but not for ever.
    pub(super) async fn look_at(&self, zone: &Name, look: Look) -> Result<String, String> {
        let remote = {
            let current = self.lock();
            current.zones.remote(zone).cloned()
        };
        let remote = remote.ok_or("it comes from elsewhere no more")?;
        let waiting = remote.order(look);
        match tokio::time::timeout(limits::ZONE_COMMAND, waiting).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err("the zone's configuration changed meanwhile; try again".to_owned()),
            Err(_) => Ok("it goes on; culvert zones shows how".to_owned()),
        }
    }

    /// Puts the version that is held into force.
    pub(super) async fn accept(self: &Arc<Self>, zone: &Name, by: &str) -> Result<String, String> {
        let status = self.one_zone(zone)?;
        let remote = self.lock().zones.remote(zone).cloned();
        let nothing = || super::zones::nothing_held(&status);
        let remote = remote.ok_or_else(nothing)?;
        let (rules, reasons) = remote.held().ok_or_else(nothing)?;
        let (serial, count) = (rules.soa.serial, rules.len());
        let verdict = Arc::clone(self).offered(*zone, Arc::clone(&rules), Offer::Accepted).await?;
        let Verdict::InForce { generation, .. } = verdict else { return Err(nothing()) };
        remote.accepted();
        let text = format!(
            "serial {serial} with {count} rules was accepted by {by}; generation {generation} is \
             in force"
        );
        tracing::warn!("policy zone {zone}: {text}; it was held: {}", reasons.join("; "));
        Ok(text)
    }

    /// Makes a zone enforce that the configuration monitors.
    pub(super) async fn promote(self: &Arc<Self>, zone: &Name, by: &str) -> Result<String, String> {
        self.one_zone(zone)?;
        let _one_at_a_time = self.reloading.lock().await;
        let (relay, zone, by) = (Arc::clone(self), *zone, by.to_owned());
        let promoted = off_thread(move || relay.promote_here(&zone, &by).map_err(Trouble::System));
        promoted.await.map_err(|trouble| trouble.to_string())
    }

    fn promote_here(&self, zone: &Name, by: &str) -> Result<String, String> {
        let promoted = {
            let current = self.lock();
            let (source, _) = current.zones.find(zone).ok_or("there is no such zone")?;
            if source.settings.mode != crate::policy::set::Mode::Monitor {
                return Err(format!("zone {zone} is not in mode \"monitor\" by its configuration"));
            }
            if let Some(Promoted { since, by }) = current.promoted.of(zone) {
                return Err(format!("zone {zone} was promoted by {by} at {since} already"));
            }
            current.promoted.with(zone, by)
        };
        let saved = promoted.save(&self.state_folder);
        let (old, generation) =
            self.renew_policy(Basis::Same, |current| current.promoted = Arc::new(promoted));
        free(old);
        let text = format!("zone {zone} enforces since generation {generation}, promoted by {by}");
        tracing::warn!("policy: {text}");
        match saved {
            Ok(()) => {
                Ok(format!("{text}; write mode = \"enforce\" into its [[policy]] to settle it"))
            }
            Err(fault) => Err(format!("{text}, BUT ONLY UNTIL A RESTART: {fault}")),
        }
    }

    /// Writes the copies that are not on the disk yet, at a stop.
    pub(super) fn save_what_is_left(&self) {
        let zones = self.lock().zones.clone();
        zones.save_unsaved(&self.state_folder);
    }
}

impl Current {
    /// Promotions of zones that the configuration monitors no more are over.
    pub(super) fn settle_promotions(&mut self, folder: &std::path::Path) {
        let monitored: Vec<Name> = self.zones.monitored().collect();
        let left = self.promoted.only(&monitored);
        if left == *self.promoted {
            return;
        }
        if let Err(fault) = left.save(folder) {
            tracing::warn!("{fault}; promotions that are over come back at a restart");
        }
        self.promoted = Arc::new(left);
    }
}

/// The gate before the versions of a zone.
fn gate(settings: &Settings, source: &Source) -> Gate {
    let routed = settings.routes.iter().flat_map(|route| &route.zones);
    let routed = routed.filter(|zone| !zone.is_root());
    let routed = routed.map(|zone| Guarded { name: *zone, why: "an internal route".to_owned() });
    let guarded = settings.response_policy.guard.iter();
    let guarded = guarded.map(|name| Guarded { name: *name, why: "guard".to_owned() });
    Gate {
        max_loss: source.care.max_loss,
        guarded: routed.chain(guarded).collect(),
        own_hosts: own_hosts(settings),
    }
}

/// Hosts that the relay itself depends on.
fn own_hosts(settings: &Settings) -> Vec<Name> {
    let hosts = settings.upstreams.iter().filter_map(|upstream| match &upstream.kind {
        UpstreamKind::Doh(doh) => doh.host.parse().ok(),
        UpstreamKind::Plain { .. } => None,
    });
    hosts.collect()
}

/// Canaries that would change for the worse, in words.
fn canaries(settings: &Settings, old: &PolicySet, new: &PolicySet) -> Vec<String> {
    let canary = &settings.canary;
    let lost = canary.resolves.iter().filter(|name| !old.blocks(name) && new.blocks(name));
    let lost = lost.map(|name| format!("the canary {name} would not resolve any more"));
    let open = canary.blocked.iter().filter(|name| old.blocks(name) && !new.blocks(name));
    let open = open.map(|name| format!("the canary {name} would not be blocked any more"));
    lost.chain(open).collect()
}
