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
use crate::zones::promotions::Promotions;
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

/// A version of a zone that is to take effect.
enum Version {
    /// A source brought it, and the gate judges it.
    New(Box<Offer>),
    /// It is held, and is taken now whatever the gate says.
    Held(Arc<ZoneRules>),
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

    fn offer(&self, offer: Offer) -> Later<Result<Verdict, String>> {
        self.offered(Version::New(Box::new(offer)))
    }

    fn accept(&self, rules: Arc<ZoneRules>) -> Later<Result<Verdict, String>> {
        self.offered(Version::Held(rules))
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

impl Owner {
    fn offered(&self, version: Version) -> Later<Result<Verdict, String>> {
        let Some(relay) = self.relay.upgrade() else { return Box::pin(async { Err(going()) }) };
        // a task of its own: the keeper may be busy with something else meanwhile
        let task = tokio::spawn(async move { relay.offered(version).await });
        Box::pin(async { task.await.unwrap_or_else(|_| Err(going())) })
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
                            // what was wrong with it may be right now
                            remote.reconfigured();
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
    async fn offered(self: Arc<Self>, version: Version) -> Result<Verdict, String> {
        let _one_at_a_time = self.reloading.lock().await;
        let relay = Arc::clone(&self);
        let offered = off_thread(move || relay.judge_version(version));
        offered.await.map_err(|trouble| trouble.to_string())
    }

    fn judge_version(&self, version: Version) -> Result<Verdict, Trouble> {
        let (zones, terms, settings) = {
            let current = self.lock();
            (current.zones.clone(), current.terms(), current.settings.clone())
        };
        let (rules, is_new) = match &version {
            Version::New(offer) => (&offer.rules, true),
            Version::Held(rules) => (rules, false),
        };
        let zone = rules.origin;
        let trouble = |what| Trouble::System(format!("zone {zone}: {what}"));
        let gone = || trouble("it does not come from elsewhere any more");
        let (source, old) = zones.find(&zone).ok_or_else(gone)?;
        let remote = Arc::clone(zones.remote(&zone).ok_or_else(gone)?);
        let old = zones.in_force(&zone).map(|_| Arc::clone(old));
        overtaken(&version, source, &remote, old.as_deref()).map_err(trouble)?;
        let judged = gate(&settings, source).judge(old.as_deref(), rules, &source.settings);
        let only_loss = judged.is_loss_only();
        let reasons: Vec<String> = judged.held.iter().map(ToString::to_string).collect();
        if is_new && !reasons.is_empty() {
            remote.hold(Arc::clone(rules), reasons.clone(), only_loss);
            return Ok(Verdict::Held { reasons });
        }
        let next = zones.with_rules(&zone, Arc::clone(rules)).ok_or_else(gone)?;
        sys::return_memory();
        let before = self.road.snapshot();
        // the long part, before anything is locked
        let policy = next.policy(0, &terms, Some(&before.policy));
        let size = old.as_ref().map_or(0, |old| old.len()).max(rules.len());
        if is_new && size > limits::supply::GATE_FROM {
            let reasons = canaries(&settings, &before.policy, &policy);
            if !reasons.is_empty() {
                remote.hold(Arc::clone(rules), reasons.clone(), false);
                return Ok(Verdict::Held { reasons });
            }
        }
        // what is freed at the end of this function would not go back to the system
        drop((before, zones, old));
        let basis = Basis::Zones(Arc::new(policy));
        let (old, generation) = self.renew_policy(basis, |current| current.zones = next);
        // what is accepted is known with all that is odd about it
        let warnings = if is_new { judged.warnings } else { Vec::new() };
        remote.entered(warnings.clone());
        free(old);
        Ok(Verdict::InForce { generation, warnings })
    }

    /// The same rules under other modes.
    async fn renew_modes(self: Arc<Self>) {
        let _one_at_a_time = self.reloading.lock().await;
        let relay = Arc::clone(&self);
        off_thread(move || {
            let (old, generation) = relay.renew_policy(Basis::Same, |_| {});
            tracing::info!(
                event = "generation",
                generation,
                "policy generation {generation} is in force"
            );
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
        let verdict = Arc::clone(self).offered(Version::Held(rules)).await?;
        let Verdict::InForce { generation, .. } = verdict else { return Err(nothing()) };
        let text = format!(
            "serial {serial} with {count} rules was accepted by {by}; generation {generation} is \
             in force"
        );
        tracing::warn!(
            event = "zone-accepted", %zone,
            "policy zone {zone}: {text}; it was held: {}",
            reasons.join("; ")
        );
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
        tracing::warn!(event = "zone-promoted", "policy: {text}");
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
    /// Promotions of zones that the configuration monitors no more are over. Gives those that are
    /// left, if they are fewer: to be saved when nothing is locked.
    pub(super) fn settle_promotions(&mut self) -> Option<Arc<Promotions>> {
        let monitored: Vec<Name> = self.zones.monitored().collect();
        let left = self.promoted.only(&monitored);
        if left == *self.promoted {
            return None;
        }
        self.promoted = Arc::new(left);
        Some(Arc::clone(&self.promoted))
    }
}

/// Writes the promotions that are left, if some are over.
pub(super) fn save_promotions(left: Option<Arc<Promotions>>, folder: &std::path::Path) {
    if let Some(Err(fault)) = left.map(|left| left.save(folder)) {
        tracing::warn!("{fault}; promotions that are over come back at a restart");
    }
}

/// Why a version is too late, if it is: it came while something else was done.
fn overtaken(
    version: &Version,
    source: &Source,
    remote: &Remote,
    old: Option<&ZoneRules>,
) -> Result<(), &'static str> {
    match version {
        Version::New(offer) if offer.source != *source => {
            Err("its configuration changed while a version came; it is looked at again")
        }
        Version::New(offer) if offer.over != old.map(ZoneRules::id) => {
            Err("another version took effect while this one came; it is looked at again")
        }
        Version::Held(rules) if !remote.holds(rules) => {
            Err("this version is not held any more; see culvert zones")
        }
        Version::New(_) | Version::Held(_) => Ok(()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zones::{Begin, Zones};

    #[test]
    fn versions_that_were_overtaken_are_not_taken() {
        let source = Source::example("192.0.2.1:53".parse().unwrap());
        let zone = source.settings.name;
        let zones =
            Zones::default().reconfigured(std::slice::from_ref(&source), Begin::Check).unwrap();
        let remote = zones.remote(&zone).unwrap();
        let [old, held, rules] = [(); 3].map(|()| Arc::new(ZoneRules::none(zone)));
        let told = |version| overtaken(&version, &source, remote, Some(&old));
        let offer = |source: &Source, over: &ZoneRules| {
            let (source, over, rules) = (source.clone(), Some(over.id()), Arc::clone(&rules));
            Version::New(Box::new(Offer { source, over, rules }))
        };
        assert_eq!(told(offer(&source, &old)), Ok(()));
        assert!(told(offer(&source, &held)).is_err(), "others are in force now");
        let other = Source::example("192.0.2.2:53".parse().unwrap());
        assert!(told(offer(&other, &old)).is_err(), "a reload has changed the zone");

        let accept = |rules: &Arc<ZoneRules>| Version::Held(Arc::clone(rules));
        assert!(told(accept(&held)).is_err(), "nothing is held");
        remote.hold(Arc::clone(&held), Vec::new(), true);
        assert_eq!(told(accept(&held)), Ok(()));
        remote.hold(Arc::clone(&rules), Vec::new(), true);
        assert!(told(accept(&held)).is_err(), "another one is held");
        remote.entered(Vec::new());
        assert!(told(accept(&rules)).is_err(), "a better one came");
    }
}
