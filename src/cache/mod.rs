//! The answer cache: what backends sent, as they sent it, for as long as it lives.
//!
//! ```text
//!   look_up(upstream, question, now) ─► Fresh   answer it
//!                                    ─► Failed  a failure is remembered (RFC 9520)
//!                                    ─► Missing ask; a stale answer may be at hand (RFC 8767)
//!   store / store_failure ◄── what an upstream said
//! ```
//!
//! Policy is applied on the way out, never before something is kept here, so a change of policy
//! bites on cached names at once. Keys are upstream, type, DO, CD and the canonical name: case
//! does not split the cache. Pure: no sockets, no clock of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::OptionsBuilder;
use quick_cache::sync::{Cache as Shards, DefaultLifecycle};

use crate::clock::Moment;
use crate::dns::answer::Answer;
use crate::dns::compose::Ttl;
use crate::dns::name::{MAX_NAME, Name};
use crate::dns::question::Question;
use crate::limits;

/// Octets that an entry costs beyond key and answer.
const OVERHEAD: usize = 128;
/// Octets of a key before the name.
const KEY_HEAD: usize = 5;
/// Flag bits in a key.
const KEY_DO: u8 = 1;
const KEY_CD: u8 = 2;

/// How the cache behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bound of all entries together, in octets. Zero switches the cache off.
    pub size: u64,
    /// Lower bound of a TTL in seconds.
    pub min_ttl: u32,
    /// Upper bound of a TTL in seconds.
    pub max_ttl: u32,
    /// Upper bound of a negative TTL in seconds.
    pub max_negative_ttl: u32,
    /// How long an answer is kept beyond its life, to be given when the upstream fails.
    pub stale: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            size: 64 << 20,
            min_ttl: 0,
            max_ttl: 86_400,
            max_negative_ttl: 3_600,
            stale: Duration::from_secs(86_400),
        }
    }
}

/// What the transport said about an answer's freshness (RFC 8484 section 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Seconds that the answer spent in HTTP caches.
    pub age: u32,
    /// Upper bound of its life in seconds, counted from before those.
    pub max_age: Option<u32>,
    /// Must not be kept.
    pub no_store: bool,
}

/// A kept answer.
#[derive(Debug)]
pub struct Entry {
    /// The answer as received.
    pub answer: Arc<Answer>,
    /// It came over DoH, so that its AD bit can be believed.
    pub trusted: bool,
    received: Moment,
    age: u32,
    lifetime: u32,
    min_ttl: u32,
    max_ttl: u32,
    /// See [`Entry::note`].
    note: AtomicU64,
}

impl Entry {
    /// An answer that was received now, whether or not it may be kept.
    pub fn new(
        answer: Arc<Answer>,
        freshness: Freshness,
        trusted: bool,
        settings: &Settings,
        now: Moment,
    ) -> Entry {
        let max = if answer.negative() { settings.max_negative_ttl } else { settings.max_ttl };
        let max_ttl = freshness.max_age.unwrap_or(max).min(max);
        let min_ttl = settings.min_ttl.min(max_ttl);
        let keep = !freshness.no_store && !answer.truncated();
        let ttl = answer.ttl().filter(|_| keep).map_or(0, |ttl| ttl.max(min_ttl).min(max_ttl));
        let lifetime = ttl.saturating_sub(freshness.age);
        Entry {
            answer,
            trusted,
            received: now,
            age: freshness.age,
            lifetime,
            min_ttl,
            max_ttl,
            note: AtomicU64::new(0),
        }
    }

    /// A word that whoever judges the answer keeps with it; zero at first.
    #[inline]
    pub fn note(&self) -> u64 {
        self.note.load(Ordering::Relaxed)
    }

    /// Replaces that word.
    #[inline]
    pub fn set_note(&self, note: u64) {
        self.note.store(note, Ordering::Relaxed);
    }

    /// How its TTLs look now; those of a kept answer that has outlived them are all 30 s.
    pub fn ttl(&self, now: Moment) -> Ttl {
        if self.lifetime > 0 && self.is_stale(now) {
            return Ttl::Fixed(limits::STALE_TTL);
        }
        let elapsed = now.seconds_since(self.received).saturating_add(self.age);
        Ttl::Aged { elapsed, min: self.min_ttl, max: self.max_ttl }
    }

    /// Seconds that it has left to live; zero once it is stale.
    pub fn left(&self, now: Moment) -> u32 {
        self.lifetime.saturating_sub(now.seconds_since(self.received))
    }

    fn is_stale(&self, now: Moment) -> bool {
        now.since(self.received) >= Duration::from_secs(self.lifetime.into())
    }

    fn is_usable_stale(&self, now: Moment, stale: Duration) -> bool {
        now.since(self.received) < Duration::from_secs(self.lifetime.into()) + stale
    }
}

/// A failure that is remembered for a short while.
#[derive(Clone, Debug)]
pub enum Failed {
    /// The backend answered with this (SERVFAIL, REFUSED and the like).
    Answer(Arc<Answer>),
    /// No backend could be reached, or none answered in time; the extended error of that.
    Transport(u16),
}

/// What is known about a question.
#[derive(Debug)]
pub enum Found {
    /// A live answer.
    Fresh(Arc<Entry>),
    /// It failed a moment ago; with the stale answer, if there is one.
    Failed(Failed, Option<Arc<Entry>>),
    /// Nothing that can be given without asking; with the stale answer, if there is one.
    Missing(Option<Arc<Entry>>),
}

#[derive(Clone)]
struct Weigher;

impl quick_cache::Weighter<Box<[u8]>, Arc<Entry>> for Weigher {
    fn weight(&self, key: &Box<[u8]>, entry: &Arc<Entry>) -> u64 {
        (key.len() + entry.answer.weight() + size_of::<Entry>() + OVERHEAD) as u64
    }
}

type Entries = Shards<
    Box<[u8]>,
    Arc<Entry>,
    Weigher,
    foldhash::fast::RandomState,
    DefaultLifecycle<Box<[u8]>, Arc<Entry>>,
>;
type Failures = Shards<Box<[u8]>, (Moment, Failed)>;

/// The cache. Shared by all workers; a look-up takes one shard's read lock.
pub struct Cache {
    entries: Entries,
    failures: Failures,
    /// A failure was remembered at some time: until then nobody needs to look for one.
    has_failed: AtomicBool,
    settings: Settings,
}

impl Cache {
    /// An empty cache. `workers` sets the number of shards.
    pub fn new(settings: Settings, workers: usize) -> Cache {
        // an entry must fit its shard: 64 KiB answers do from 128 KiB a shard up
        let shards = (workers * 4).next_power_of_two().min((settings.size >> 18).max(1) as usize);
        let options = OptionsBuilder::new()
            .estimated_items_capacity((settings.size / 512).max(16) as usize)
            .weight_capacity(settings.size)
            .shards(shards)
            .build()
            .expect("all three options are set");
        let hasher = foldhash::fast::RandomState::default();
        Cache {
            entries: Shards::with_options(options, Weigher, hasher, DefaultLifecycle::default()),
            failures: Shards::new(limits::FAILURES),
            has_failed: AtomicBool::new(false),
            settings,
        }
    }

    /// Settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What is known about a question at one upstream.
    pub fn look_up(&self, upstream: usize, question: &Question, now: Moment) -> Found {
        if self.settings.size == 0 {
            return Found::Missing(None);
        }
        let mut key = Key::EMPTY;
        key.set(upstream, question);
        let stale = match self.entries.get(key.bytes()) {
            Some(entry) if !entry.is_stale(now) => return Found::Fresh(entry),
            Some(entry) => entry.is_usable_stale(now, self.settings.stale).then_some(entry),
            None => None,
        };
        if self.has_failed.load(Ordering::Relaxed)
            && let Some((until, failed)) = self.failures.get(key.bytes())
            && now < until
        {
            return Found::Failed(failed, stale);
        }
        Found::Missing(stale)
    }

    /// Keeps an answer, if it may be kept, and forgets an earlier failure.
    pub fn store(&self, upstream: usize, question: &Question, entry: &Arc<Entry>) {
        if self.settings.size == 0 {
            return;
        }
        let mut key = Key::EMPTY;
        key.set(upstream, question);
        if self.has_failed.load(Ordering::Relaxed) {
            self.failures.remove(key.bytes());
        }
        if entry.lifetime == 0 {
            // what was kept before is not true any more, unless this is only half an answer
            if !entry.answer.truncated() {
                self.entries.remove(key.bytes());
            }
            return;
        }
        self.entries.insert(key.bytes().into(), Arc::clone(entry));
    }

    /// Remembers a failure until `until`. A good answer that is still kept stays.
    pub fn store_failure(
        &self,
        upstream: usize,
        question: &Question,
        failed: Failed,
        until: Moment,
    ) {
        if self.settings.size > 0 {
            self.has_failed.store(true, Ordering::Relaxed);
            let mut key = Key::EMPTY;
            key.set(upstream, question);
            self.failures.insert(key.bytes().into(), (until, failed));
        }
    }

    /// Forgets a name (with `subtree`: all names below it too), at all upstreams. Gives the
    /// number of answers forgotten.
    pub fn flush(&self, name: &Name, subtree: bool) -> usize {
        let hit = |key: &[u8]| {
            Key::name_of(key).is_some_and(|n| n == *name || (subtree && n.is_within(name)))
        };
        let gone: Vec<Box<[u8]>> =
            self.entries.iter().map(|(key, _)| key).filter(|key| hit(key)).collect();
        let flushed = gone.iter().filter(|key| self.entries.remove(&key[..]).is_some()).count();
        self.failures.retain(|key, _| !hit(key));
        flushed
    }

    /// All answers kept for a name: upstream, question, entry.
    pub fn show(&self, name: &Name) -> Vec<(usize, Question, Arc<Entry>)> {
        let mut found: Vec<_> = self
            .entries
            .iter()
            .filter(|(key, _)| Key::name_of(key).is_some_and(|n| n == *name))
            .filter_map(|(key, entry)| {
                let (upstream, question) = Key::parse(&key)?;
                Some((upstream, question, entry))
            })
            .collect();
        found.sort_by_key(|(upstream, q, _)| (*upstream, q.rtype, q.dnssec_ok));
        found
    }

    /// Number of answers kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Octets in use, overhead included.
    pub fn weight(&self) -> u64 {
        self.entries.weight()
    }
}

/// A key on the stack: upstream, type, flags, canonical name.
struct Key {
    len: usize,
    bytes: [u8; KEY_HEAD + MAX_NAME],
}

impl Key {
    const EMPTY: Key = Key { len: 0, bytes: [0; KEY_HEAD + MAX_NAME] };

    /// In place: moving a key that was just put together stalls the processor.
    #[inline]
    fn set(&mut self, upstream: usize, q: &Question) {
        // ids count the upstreams ever built: they wrap far beyond any cached answer's life
        let [a, b] = (upstream as u16).to_be_bytes();
        let [c, d] = q.rtype.to_be_bytes();
        let flags =
            if q.dnssec_ok { KEY_DO } else { 0 } | if q.checking_disabled { KEY_CD } else { 0 };
        self.bytes[..KEY_HEAD].copy_from_slice(&[a, b, c, d, flags]);
        self.len = KEY_HEAD + q.name.len();
        self.bytes[KEY_HEAD..self.len].copy_from_slice(q.name.as_wire());
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn name_of(key: &[u8]) -> Option<Name> {
        Name::from_wire(key.get(KEY_HEAD..)?).ok()
    }

    fn parse(key: &[u8]) -> Option<(usize, Question)> {
        let number = |at: usize| Some(u16::from_be_bytes([*key.get(at)?, *key.get(at + 1)?]));
        let flags = *key.get(4)?;
        let question = Question {
            name: Key::name_of(key)?,
            rtype: number(2)?,
            dnssec_ok: flags & KEY_DO != 0,
            checking_disabled: flags & KEY_CD != 0,
        };
        Some((number(0)?.into(), question))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::compose::upstream_query;
    use crate::dns::rtype;

    /// An answer with `count` addresses of TTL 300.
    fn answer(q: &Question, count: u16) -> Arc<Answer> {
        let mut m = upstream_query(q, 0, 1232, None);
        m.truncate(m.len() - 11);
        m[2] |= 0x80;
        m[6..8].copy_from_slice(&count.to_be_bytes());
        m[11] = 0;
        for _ in 0..count {
            m.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 1]);
        }
        Arc::new(Answer::receive(q, &m).unwrap())
    }

    fn question(name: &str) -> Question {
        Question::plain(name.parse().unwrap(), rtype::A)
    }

    fn entry(cache: &Cache, q: &Question, f: Freshness, at: u64) -> Arc<Entry> {
        let now = Moment::from_millis(at);
        Arc::new(Entry::new(answer(q, 1), f, true, cache.settings(), now))
    }

    fn state(cache: &Cache, q: &Question, at: u64) -> &'static str {
        match cache.look_up(1, q, Moment::from_millis(at)) {
            Found::Fresh(_) => "fresh",
            Found::Failed(_, Some(_)) => "failed, stale",
            Found::Failed(_, None) => "failed",
            Found::Missing(Some(_)) => "stale",
            Found::Missing(None) => "missing",
        }
    }

    #[test]
    fn answers_age_go_stale_and_end() {
        let cache = Cache::new(Settings::default(), 1);
        let q = question("a.test");
        cache.store(1, &q, &entry(&cache, &q, Freshness::default(), 1000));
        assert_eq!(state(&cache, &q, 300_999), "fresh");
        assert_eq!(state(&cache, &q, 301_000), "stale");
        assert_eq!(state(&cache, &q, 301_000 + 86_400_000), "missing");
        let mut other = q;
        other.dnssec_ok = true;
        assert_eq!(state(&cache, &other, 1000), "missing");
    }

    #[test]
    fn http_freshness_shortens_life() {
        let cache = Cache::new(Settings::default(), 1);
        let q = question("a.test");
        let f = |age, max_age, no_store| Freshness { age, max_age, no_store };
        let left = |f| entry(&cache, &q, f, 0).left(Moment::from_millis(0));
        assert_eq!(left(f(100, None, false)), 200);
        assert_eq!(left(f(0, Some(60), false)), 60);
        assert_eq!(left(f(50, Some(60), false)), 10);
        assert_eq!(left(f(500, None, false)), 0);
        assert_eq!(left(f(0, None, true)), 0);
        let aged = entry(&cache, &q, f(100, None, false), 0);
        assert_eq!(aged.ttl(Moment::from_millis(5_000)).shown(300), 195);
    }

    #[test]
    fn failures_are_remembered_and_hide_no_stale_answer() {
        let cache = Cache::new(Settings::default(), 1);
        let q = question("a.test");
        let until = Moment::from_millis(500_000);
        cache.store_failure(1, &q, Failed::Transport(22), until);
        assert_eq!(state(&cache, &q, 499_999), "failed");
        assert_eq!(state(&cache, &q, 500_000), "missing");
        cache.store(1, &q, &entry(&cache, &q, Freshness::default(), 0));
        assert_eq!(state(&cache, &q, 1), "fresh");
        cache.store_failure(1, &q, Failed::Transport(22), until);
        assert_eq!(state(&cache, &q, 300_000), "failed, stale");
    }

    #[test]
    fn bytes_are_bounded_and_the_largest_answer_fits() {
        let cache = Cache::new(Settings { size: 1 << 20, ..Settings::default() }, 2);
        for i in 0..20_000 {
            let q = question(&format!("n{i}.test"));
            cache.store(1, &q, &entry(&cache, &q, Freshness::default(), 0));
        }
        assert!(cache.weight() <= 1 << 20 && cache.len() > 1000);
        let q = question("large.test");
        let now = Moment::from_millis(0);
        let large = answer(&q, 4000);
        assert!(large.message().len() > 64_000);
        let large = Entry::new(large, Freshness::default(), true, cache.settings(), now);
        cache.store(1, &q, &Arc::new(large));
        assert_eq!(state(&cache, &q, 0), "fresh");
    }

    #[test]
    fn flush_and_show() {
        let cache = Cache::new(Settings::default(), 1);
        for name in ["a.test", "b.a.test", "ba.test"] {
            let q = question(name);
            cache.store(1, &q, &entry(&cache, &q, Freshness::default(), 0));
        }
        assert_eq!(cache.show(&"b.a.test".parse().unwrap()).len(), 1);
        assert_eq!(cache.flush(&"a.test".parse().unwrap(), false), 1);
        assert_eq!(cache.flush(&"a.test".parse().unwrap(), true), 1);
        assert_eq!(state(&cache, &question("ba.test"), 0), "fresh");
    }
}
