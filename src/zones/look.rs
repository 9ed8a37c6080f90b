//! One look at a zone's source: what it has that is newer.
//!
//! ```text
//!   transfer: each primary in turn ─ SOA ─ not newer ─► up to date
//!                                     └─ newer ─ IXFR on the rules in force ─┬─► version
//!                                                 └─ does not fit ─ AXFR ────┘
//!   download: conditional GET ─ not modified ─► up to date
//!                              └─ a list ─► version
//! ```

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::download::{self, Validators};
use super::keeper::Keeper;
use super::remote::Remote;
use super::saved::Identity;
use super::source::{Download, Origin, Primary, Transfer};
use super::timers::Times;
use super::transfer;
use super::transfer::serial::{self, Order};
use super::transfer::{Ask, Failure, Fetched, Patience, Rr, Session, Stop, Taker};
use crate::dns::rtype;
use crate::policy::rules::{Soa, ZoneRules};
use crate::rpz::{Edit, Gather, most_records};
use crate::upstream;

/// What a source has.
pub(super) enum Brought {
    /// Nothing newer than what is in force, or held.
    UpToDate {
        /// When to look again.
        times: Times,
        /// In words.
        text: String,
    },
    /// A newer version.
    Version {
        /// Its rules.
        rules: Box<ZoneRules>,
        /// What came and from where, in words.
        text: String,
        /// It came as changes.
        incremental: bool,
        /// What to ask a list's server with next time.
        validators: Option<Validators>,
    },
}

/// Why a look brought nothing.
pub(super) struct Missed {
    /// In words.
    pub(super) text: String,
    /// How long the source wants to be left alone.
    pub(super) retry_after: Option<Duration>,
}

impl From<String> for Missed {
    fn from(text: String) -> Missed {
        Missed { text, retry_after: None }
    }
}

/// How many records come between two notes for those who watch.
const NOTED_EVERY: u64 = 10_000;

/// Why a look is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// All of the zone is fetched, whatever its version.
    pub(super) whole: bool,
    /// Somebody knows of a newer version: no primary that has none is believed alone.
    pub(super) newer: bool,
}

/// Looks at the source of a keeper's zone.
pub(super) async fn look(keeper: &Keeper, wish: Wish) -> Result<Brought, Missed> {
    match &keeper.source.origin {
        Origin::Transfer(transfer) => Ok(primaries(keeper, transfer, wish).await?),
        Origin::Download(list) => fetched(keeper, list, wish.whole).await,
        Origin::File(path) => Err(format!("{} is a file", path.display()).into()),
    }
}

// ── transfer ────────────────────────────────────────────────────────────────────────────────

/// Asks the primaries in their order until one answers well, or has something newer if there is
/// to be something.
async fn primaries(keeper: &Keeper, from: &Transfer, wish: Wish) -> Result<Brought, String> {
    let tls = from.primaries.iter().any(|primary| primary.tls_name.is_some());
    let tls = tls.then(|| upstream::client_config(from.ca.as_deref(), b"dot")).transpose();
    let ask = Ask {
        zone: keeper.source.settings.name,
        key: from.key.clone(),
        tls: tls.map_err(|fault| fault.to_string())?,
        max_bytes: keeper.source.care.max_bytes,
        max_records: most_records(keeper.source.max_rules) as u64,
        patience: Patience::default(),
        now: &unix_now,
    };
    let (mut faults, mut up_to_date) = (Vec::new(), None);
    for primary in &from.primaries {
        match one_primary(keeper, primary, &ask, wish.whole).await {
            Ok(brought @ Brought::UpToDate { .. }) if wish.newer => {
                up_to_date.get_or_insert(brought);
            }
            Ok(brought) => return Ok(brought),
            Err(fault) => faults.push(fault),
        }
    }
    up_to_date.ok_or_else(|| faults.join("; "))
}

async fn one_primary(
    keeper: &Keeper,
    primary: &Primary,
    ask: &Ask<'_>,
    whole: bool,
) -> Result<Brought, String> {
    let words = |failure: Failure| failure.to_string();
    keeper.remote.busy(format!("asking {primary}"));
    let mut session = Session::connect(primary, ask).await.map_err(words)?;
    let soa = session.serial().await.map_err(words)?;
    let base = keeper.enforcer.in_force(&ask.zone).map(|(rules, _)| rules);
    if !whole && let Some(brought) = not_newer(keeper, primary, &soa, base.as_deref())? {
        return Ok(brought);
    }
    keeper.remote.lock().told.newer = Some(soa.serial);
    let since = base.as_ref().filter(|_| !whole).map(|base| base.soa.serial);
    if let Some(base) = base.filter(|base| !whole && base.records().is_some()) {
        match changes(keeper, primary, &mut session, &base).await {
            Ok(Some(brought)) => return Ok(brought),
            Ok(None) => {}
            Err(Misfit::Zone(text)) => tracing::warn!("policy zone {}: {text}", ask.zone),
            Err(Misfit::Source(text)) => return Err(text),
        }
        // what is left of the answer would be in the way
        session = Session::connect(primary, ask).await.map_err(words)?;
    }
    all(keeper, primary, &mut session, since).await
}

/// What there is to say if the primary's version is not newer than ours.
fn not_newer(
    keeper: &Keeper,
    primary: &Primary,
    soa: &super::transfer::Soa,
    base: Option<&ZoneRules>,
) -> Result<Option<Brought>, String> {
    let (theirs, times) = (soa.serial, times_of(soa));
    if keeper.remote.held().is_some_and(|(held, _)| held.soa.serial == theirs) {
        let text = format!("{primary}: serial {theirs}, which is held");
        return Ok(Some(Brought::UpToDate { times, text }));
    }
    let Some(ours) = base.map(|base| base.soa.serial) else { return Ok(None) };
    let zone = &keeper.source.settings.name;
    match serial::order(theirs, ours) {
        Order::Same => {
            let text = format!("{primary}: up to date, serial {theirs}");
            Ok(Some(Brought::UpToDate { times, text }))
        }
        Order::Newer => Ok(None),
        Order::Older => Err(format!(
            "{primary} has serial {theirs}, which is older than {ours} in force (RFC 1982); if \
             that is meant: culvert zone retransfer {zone}"
        )),
        Order::Undefined => Err(format!(
            "{primary} has serial {theirs}, which is neither newer nor older than {ours} in force \
             (RFC 1982); if it is to be taken: culvert zone retransfer {zone}"
        )),
    }
}

fn times_of(soa: &super::transfer::Soa) -> Times {
    let super::transfer::Soa { serial, refresh, retry, expire, minimum } = *soa;
    Times::of_soa(&Soa { serial, refresh, retry, expire, minimum, ..Soa::default() })
}

/// Why changes cannot be had.
enum Misfit {
    /// All of the zone may be had instead.
    Zone(String),
    /// Nothing can be had there.
    Source(String),
}

/// Asks for what is newer than the rules in force. A primary may answer with the whole zone.
/// `None`: it says that there is nothing newer, though its SOA says otherwise.
async fn changes(
    keeper: &Keeper,
    primary: &Primary,
    session: &mut Session<'_>,
    base: &Arc<ZoneRules>,
) -> Result<Option<Brought>, Misfit> {
    let max_rules = keeper.source.max_rules;
    let Some(edit) = Edit::of(base, max_rules) else { return Ok(None) };
    let mut taker = Taking::new(keeper, primary, Some(edit));
    let fetched = session.fetch(Some(base.soa.serial), &mut taker).await.map_err(|failure| {
        let text = failure.to_string();
        if failure.whole_may_help() { Misfit::Zone(text) } else { Misfit::Source(text) }
    })?;
    if fetched == Fetched::UpToDate {
        return Ok(None);
    }
    let incremental = matches!(fetched, Fetched::Changes { .. });
    let brought = finished(taker, primary, fetched).await;
    match brought {
        Ok(brought) => Ok(Some(brought)),
        // the whole zone may be within the limit that changes went beyond
        Err(text) if incremental => Err(Misfit::Zone(text)),
        Err(text) => Err(Misfit::Source(text)),
    }
}

/// Asks for all of the zone, which must be newer than this serial.
async fn all(
    keeper: &Keeper,
    primary: &Primary,
    session: &mut Session<'_>,
    since: Option<u32>,
) -> Result<Brought, String> {
    let mut taker = Taking::new(keeper, primary, None);
    taker.since = since;
    let fetched = session.fetch(None, &mut taker).await.map_err(|failure| failure.to_string())?;
    finished(taker, primary, fetched).await
}

/// Makes rules of what was taken.
async fn finished(
    taker: Taking<'_>,
    primary: &Primary,
    fetched: Fetched,
) -> Result<Brought, String> {
    let Taking { edit, gather, changed, remote, .. } = taker;
    let incremental = matches!(fetched, Fetched::Changes { .. });
    remote.busy(format!("{primary}: making rules of {fetched}"));
    let rules = heavy(move || match (edit, gather) {
        (Some(edit), _) if incremental => edit.finish(),
        (_, Some(gather)) => gather.finish(),
        _ => Err(crate::rpz::Refusal::BadSoa),
    });
    let rules = rules.await?.map_err(|refusal| format!("{primary}: {fetched}: {refusal}"))?;
    let count = rules.len();
    let text = match incremental {
        true => {
            let (gone, come) = changed;
            format!("{primary}: {fetched}, {gone} less and {come} more, {count} rules")
        }
        false => format!("{primary}: {fetched}, {count} rules"),
    };
    let rules = Box::new(rules);
    Ok(Brought::Version { rules, text, incremental, validators: None })
}

/// Takes the records of a transfer: changes to the rules in force, or a whole zone.
struct Taking<'k> {
    remote: &'k Remote,
    primary: &'k Primary,
    origin: crate::dns::name::Name,
    max_rules: usize,
    /// The whole zone must be newer than this serial.
    since: Option<u32>,
    edit: Option<Edit>,
    gather: Option<Gather>,
    /// Octets that may come yet, names written out: on the way a few of them may stand for 255.
    left: u64,
    /// Records that went, and that came.
    changed: (u64, u64),
}

impl<'k> Taking<'k> {
    fn new(keeper: &'k Keeper, primary: &'k Primary, edit: Option<Edit>) -> Taking<'k> {
        Taking {
            remote: &keeper.remote,
            primary,
            origin: keeper.source.settings.name,
            max_rules: keeper.source.max_rules,
            since: None,
            edit,
            gather: None,
            left: keeper.source.care.max_bytes,
            changed: (0, 0),
        }
    }

    /// Counts a record against what may come.
    fn weigh(&mut self, rr: &Rr<'_>) -> Result<(), Stop> {
        let own = rr.owner.as_wire().len().saturating_sub(self.origin.as_wire().len());
        let left = self.left.checked_sub((own + rr.rdata.len()) as u64);
        self.left = left.ok_or_else(|| {
            let why = "more octets, once names are written out, than the zone's `max_bytes`: if \
                       that is right, raise it";
            match self.gather {
                Some(_) => Stop::Refused(why.to_owned()),
                // the whole zone may be within it
                None => Stop::Misfit(why.to_owned()),
            }
        })?;
        Ok(())
    }

    fn note(&self) {
        let (gone, come) = self.changed;
        if (gone + come) % NOTED_EVERY == 0 {
            self.remote.busy(format!("{}: {} records so far", self.primary, gone + come));
        }
    }
}

impl Taker for Taking<'_> {
    fn whole(&mut self, soa: &Rr<'_>) -> Result<(), Stop> {
        let serial = transfer::Soa::read(soa.rdata).map(|soa| soa.serial);
        if let Some((serial, ours)) = serial.zip(self.since)
            && serial::order(serial, ours) != Order::Newer
        {
            return Err(Stop::Refused(format!(
                "it sends serial {serial}, though its SOA told of one newer than {ours}: do \
                 several servers answer at its address?"
            )));
        }
        let mut gather = Gather::new(self.origin, self.max_rules);
        let taken = gather.record(soa.owner.as_wire(), rtype::SOA, soa.ttl, soa.rdata);
        self.gather = Some(gather);
        taken.map_err(|refusal| Stop::Refused(refusal.to_string()))
    }

    fn changes(&mut self) -> Result<(), Stop> {
        match self.edit {
            Some(_) => Ok(()),
            None => Err(Stop::Misfit("changes to a zone that is not there".to_owned())),
        }
    }

    fn remove(&mut self, rr: &Rr<'_>) -> Result<(), Stop> {
        self.changed.0 += 1;
        self.note();
        self.weigh(rr)?;
        let Some(edit) = &mut self.edit else { return self.changes() };
        let removed = edit.remove(rr.owner.as_wire(), rr.rtype, rr.rdata);
        removed.map_err(|misfit| Stop::Misfit(misfit.to_string()))
    }

    fn add(&mut self, rr: &Rr<'_>) -> Result<(), Stop> {
        self.changed.1 += 1;
        self.note();
        self.weigh(rr)?;
        let (owner, kind) = (rr.owner.as_wire(), rr.rtype);
        match (&mut self.gather, &mut self.edit) {
            (Some(gather), _) => gather
                .record(owner, kind, rr.ttl, rr.rdata)
                .map_err(|refusal| Stop::Refused(refusal.to_string())),
            (None, Some(edit)) => edit
                .add(owner, kind, rr.ttl, rr.rdata)
                .map_err(|misfit| Stop::Misfit(misfit.to_string())),
            (None, None) => self.changes(),
        }
    }

    fn soa(&mut self, soa: &Rr<'_>) -> Result<(), Stop> {
        let Some(edit) = &mut self.edit else { return self.changes() };
        let taken = edit.soa(soa.ttl, soa.rdata);
        taken.map_err(|refusal| Stop::Refused(refusal.to_string()))
    }
}

// ── download ────────────────────────────────────────────────────────────────────────────────

async fn fetched(keeper: &Keeper, list: &Download, whole: bool) -> Result<Brought, Missed> {
    let host = &keeper.source.origin;
    keeper.remote.busy(format!("asking {host}"));
    let known = if whole { Validators::default() } else { known(keeper) };
    let resolver = keeper.enforcer.resolver();
    let max_bytes = keeper.source.care.max_bytes;
    let fetched = download::fetch(list, &known, &*resolver, max_bytes).await;
    let fetched = fetched.map_err(|failure| Missed {
        text: failure.to_string(),
        retry_after: failure.retry_after(),
    })?;
    let times = Times::every(list.every);
    let (text, validators) = match fetched {
        download::Fetched::NotModified => {
            return Ok(Brought::UpToDate { times, text: format!("{host}: not modified") });
        }
        download::Fetched::List { text, validators } => (text, validators),
    };
    let octets = text.len();
    keeper.remote.busy(format!("{host}: making rules of {octets} octets"));
    let (source, said) = (keeper.source.clone(), validators.clone());
    let made = move || {
        download::rules(&text, &said, &source).inspect(|rules| {
            rules.checksum();
        })
    };
    let rules = heavy(made).await?;
    let rules = rules.map_err(|fault| fault.to_string())?;
    let text =
        format!("{host}: {octets} octets, serial {}, {} rules", rules.soa.serial, rules.len());
    let (rules, validators) = (Box::new(rules), Some(validators));
    Ok(Brought::Version { rules, text, incremental: false, validators })
}

/// What this very list's server said of the version that is in force or held.
fn known(keeper: &Keeper) -> Validators {
    let identity = Identity::of(&keeper.source.origin, keeper.source.form);
    let known = keeper.remote.lock().validators.clone();
    known.filter(|(of, _)| *of == identity).map(|(_, known)| known).unwrap_or_default()
}

/// Work that takes a while, off the keepers' thread.
fn heavy<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, String>> {
    let working = tokio::task::spawn_blocking(work);
    async { working.await.map_err(|_| "it ended in a panic, which is our fault".to_owned()) }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::name::Name;

    fn taking<'t>(remote: &'t Remote, primary: &'t Primary) -> Taking<'t> {
        let origin = remote.name;
        let (since, left, max_rules) = (Some(7), 100, 10);
        let (edit, gather, changed) = (None, None, (0, 0));
        Taking { remote, primary, origin, max_rules, since, edit, gather, left, changed }
    }

    fn soa(serial: u32) -> Vec<u8> {
        let numbers = [serial, 3600, 60, 86_400, 60].map(u32::to_be_bytes);
        [&[0, 0][..], numbers.as_flattened()].concat()
    }

    #[test]
    fn a_whole_zone_that_is_not_newer_or_too_long_once_written_out_is_refused() {
        let remote = Remote::new("feed.test".parse().unwrap());
        let primary = Primary { address: "192.0.2.1:53".parse().unwrap(), tls_name: None };
        for serial in [6, 7, 7 + (1 << 31)] {
            let rdata = soa(serial);
            let head = Rr { owner: &remote.name, rtype: rtype::SOA, ttl: 60, rdata: &rdata };
            let refused = taking(&remote, &primary).whole(&head);
            assert!(matches!(refused, Err(Stop::Refused(_))), "{serial}");
        }
        let mut taking = taking(&remote, &primary);
        let rdata = soa(8);
        let head = Rr { owner: &remote.name, rtype: rtype::SOA, ttl: 60, rdata: &rdata };
        assert_eq!(taking.whole(&head), Ok(()));
        let owner: Name = format!("{}.feed.test", "a".repeat(30)).parse().unwrap();
        let rr = Rr { owner: &owner, rtype: rtype::CNAME, ttl: 60, rdata: &[0] };
        assert_eq!([(); 3].map(|()| taking.add(&rr).is_ok()), [true; 3]);
        assert!(matches!(taking.add(&rr), Err(Stop::Refused(_))));
    }
}
