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
use super::source::{Download, Origin, Primary, Transfer};
use super::timers::Times;
use super::transfer::serial::{self, Order};
use super::transfer::{Ask, Failure, Fetched, Patience, Rr, Session, Stop, Taker};
use crate::dns::rtype;
use crate::policy::rules::{Soa, ZoneRules};
use crate::rpz::{Edit, Gather};
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

/// Records that a transfer may have for each rule that a zone may have, and beside them.
const RECORDS: (u64, u64) = (4, 1_000);

/// How many records come between two notes for those who watch.
const NOTED_EVERY: u64 = 10_000;

/// Looks at the source of a keeper's zone; with `whole`, all of it is fetched, whatever its
/// version.
pub(super) async fn look(keeper: &Keeper, whole: bool) -> Result<Brought, Missed> {
    match &keeper.source.origin {
        Origin::Transfer(transfer) => Ok(primaries(keeper, transfer, whole).await?),
        Origin::Download(list) => fetched(keeper, list, whole).await,
        Origin::File(path) => Err(format!("{} is a file", path.display()).into()),
    }
}

// ── transfer ────────────────────────────────────────────────────────────────────────────────

/// Asks the primaries in their order until one answers well.
async fn primaries(keeper: &Keeper, from: &Transfer, whole: bool) -> Result<Brought, String> {
    let tls = from.primaries.iter().any(|primary| primary.tls_name.is_some());
    let tls = tls.then(|| upstream::client_config(from.ca.as_deref(), b"dot")).transpose();
    let (records, beside) = RECORDS;
    let ask = Ask {
        zone: keeper.source.settings.name,
        key: from.key.clone(),
        tls: tls.map_err(|fault| fault.to_string())?,
        max_bytes: keeper.source.care.max_bytes,
        max_records: (keeper.source.max_rules as u64).saturating_mul(records) + beside,
        patience: Patience::default(),
        now: &unix_now,
    };
    let mut faults = Vec::new();
    for primary in &from.primaries {
        match one_primary(keeper, primary, &ask, whole).await {
            Ok(brought) => return Ok(brought),
            Err(fault) => faults.push(fault),
        }
    }
    Err(faults.join("; "))
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
    all(keeper, primary, &mut session).await
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

/// Asks for all of the zone.
async fn all(
    keeper: &Keeper,
    primary: &Primary,
    session: &mut Session<'_>,
) -> Result<Brought, String> {
    let mut taker = Taking::new(keeper, primary, None);
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
    edit: Option<Edit>,
    gather: Option<Gather>,
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
            edit,
            gather: None,
            changed: (0, 0),
        }
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
        let Some(edit) = &mut self.edit else { return self.changes() };
        let removed = edit.remove(rr.owner.as_wire(), rr.rtype, rr.rdata);
        removed.map_err(|misfit| Stop::Misfit(misfit.to_string()))
    }

    fn add(&mut self, rr: &Rr<'_>) -> Result<(), Stop> {
        self.changed.1 += 1;
        self.note();
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
    let known = if whole { Validators::default() } else { keeper.remote.lock().validators.clone() };
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
    let rules = heavy(move || download::rules(&text, &said, &source)).await?;
    let rules = rules.map_err(|fault| fault.to_string())?;
    let text =
        format!("{host}: {octets} octets, serial {}, {} rules", rules.soa.serial, rules.len());
    let (rules, validators) = (Box::new(rules), Some(validators));
    Ok(Brought::Version { rules, text, incremental: false, validators })
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
