//! Stores are made here: the first version from records in any order, the next ones from what
//! changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::policy::action::ActionCode;

use super::entry::{self, Entries, Entry, Kind, Kinds, Record};
use super::{RecordStore, Spread, Totals, bucket_of};

/// Owners of a bucket in a store that was just laid out: this many, and less than twice as many.
const SETTLED: usize = 128;
/// With fewer owners a bucket on average, there are more buckets than are worth their while.
const THIN: usize = SETTLED / 2;
/// With more owners a bucket on average, a change copies too much.
const CROWDED: usize = 4 * SETTLED;
/// Parts that records are put into while they come in, by the upper bits of the owner's hash.
const PARTS: usize = 256;
/// A part grows by a quarter, but not by less than this, in octets.
const GROWTH: usize = 1 << 10;

/// Takes the records of a new store in any order.
///
/// Memory for the while is about that of the records.
pub struct Builder {
    spread: Spread,
    kinds: Kinds,
    parts: Vec<Part>,
    /// Owners, one counted again when its records do not come one after the other.
    runs: usize,
    records: usize,
}

/// Records of some owners, as they came: owner with its length, then the record.
#[derive(Default)]
struct Part {
    octets: Vec<u8>,
    /// Where the last one begins.
    last: usize,
}

/// What an owner has in the next version.
pub struct Kept<'a> {
    /// The QNAME rule that the records are.
    pub code: Option<ActionCode>,
    /// The records in any order; of equal ones one counts. Without any, the owner goes.
    pub records: Vec<Record<'a>>,
}

/// A record with all that it is sorted by.
struct Piece<'a> {
    bucket: usize,
    /// The first octets of the owner: most comparisons end here.
    start: u64,
    labels: &'a [u8],
    record: Record<'a>,
}

/// Buckets in the making.
struct Target {
    kinds: Kinds,
    totals: Totals,
    open: Vec<u8>,
    buckets: Vec<Arc<[u8]>>,
}

type Changes<'a> = BTreeMap<(usize, &'a [u8]), Option<Kept<'a>>>;

impl Builder {
    /// A builder of a store with this seed, which should be one that nobody can guess.
    pub fn new(seed: u64) -> Builder {
        let parts = std::iter::repeat_with(Part::default).take(PARTS).collect();
        Builder { spread: Spread::new(seed), kinds: Kinds::of(&[]), parts, runs: 0, records: 0 }
    }

    /// Takes a record; both parts must be as [`fits`](super::fits) wants them.
    #[inline]
    pub fn push(&mut self, labels: &[u8], record: &Record<'_>) {
        debug_assert!(entry::fits(labels, record.rdata));
        let at = bucket_of(self.spread.hash(labels), PARTS);
        let Some(part) = self.parts.get_mut(at) else { return };
        self.runs += usize::from(part.last_labels() != Some(labels));
        self.records += 1;
        part.make_room(labels.len() + record.rdata.len() + 16);
        part.last = part.octets.len();
        part.octets.push(labels.len() as u8);
        part.octets.extend_from_slice(labels);
        entry::write_record(&mut part.octets, &mut self.kinds, record);
    }

    /// Records so far.
    pub fn len(&self) -> usize {
        self.records
    }

    /// True if there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Heap in octets.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.octets.capacity()).sum()
    }

    /// All records are in. `judge` is called once for each owner with its records in their order,
    /// without doubles, and says which QNAME rule they are; its error ends it all.
    pub fn finish<E>(
        mut self,
        mut judge: impl FnMut(&[u8], &[Record<'_>]) -> Result<Option<ActionCode>, E>,
    ) -> Result<RecordStore, E> {
        let buckets = buckets_for(self.runs);
        let groups = buckets.min(PARTS);
        let list: Arc<[Kind]> = self.kinds.list.as_slice().into();
        let mut target = Target::new(self.kinds);
        for group in 0..groups {
            let parts: Vec<Part> = self.parts.drain(..PARTS / groups).collect();
            let mut pieces: Vec<Piece<'_>> = Vec::new();
            for part in &parts {
                part.cut(&list, |labels, record| {
                    let bucket = self.spread.bucket(labels, buckets);
                    pieces.push(Piece { bucket, start: start_of(labels), labels, record });
                });
            }
            pieces.sort_unstable_by(Piece::order);
            let mut records = Vec::new();
            for own in pieces.chunk_by(|a, b| a.labels == b.labels) {
                let Some(first) = own.first() else { continue };
                target.close_before(first.bucket);
                records.clear();
                records.extend(own.iter().map(|piece| piece.record));
                records.dedup_by(|later, first| later.order(first).is_eq());
                let code = judge(first.labels, &records)?;
                target.put(first.labels, code, &records);
            }
            target.close_before((group + 1) * (buckets / groups));
        }
        Ok(target.store(self.spread).settled())
    }
}

impl Part {
    fn last_labels(&self) -> Option<&[u8]> {
        let (&len, rest) = self.octets.get(self.last..)?.split_first()?;
        rest.get(..usize::from(len))
    }

    /// A part must not take twice the memory that it needs, as a vector would.
    #[inline]
    fn make_room(&mut self, octets: usize) {
        if self.octets.capacity() - self.octets.len() < octets {
            self.octets.reserve_exact((self.octets.len() / 4).max(GROWTH).max(octets));
        }
    }

    /// Hands out what was put in.
    fn cut<'a>(&'a self, kinds: &'a [Kind], mut each: impl FnMut(&'a [u8], Record<'a>)) {
        let mut rest = &self.octets[..];
        while let Some((&len, tail)) = rest.split_first() {
            let Some((labels, tail)) = tail.split_at_checked(usize::from(len)) else { return };
            let Some((record, tail)) = entry::cut_record(tail, kinds) else { return };
            each(labels, record);
            rest = tail;
        }
    }
}

impl Piece<'_> {
    fn order(&self, other: &Piece<'_>) -> std::cmp::Ordering {
        let place = (self.bucket, self.start).cmp(&(other.bucket, other.start));
        // where records are equal but for case or TTL, which one stays must not hang on the order
        // in which they came
        place
            .then_with(|| self.labels.cmp(other.labels))
            .then_with(|| self.record.order(&other.record))
            .then_with(|| self.record.rdata.cmp(other.record.rdata))
            .then_with(|| self.record.ttl.cmp(&other.record.ttl))
    }
}

/// The first eight octets; what is missing counts as zero.
#[inline]
fn start_of(labels: &[u8]) -> u64 {
    let mut start = [0; 8];
    let len = labels.len().min(8);
    start[..len].copy_from_slice(&labels[..len]);
    u64::from_be_bytes(start)
}

/// A good number of buckets.
fn buckets_for(owners: usize) -> usize {
    let wanted = (owners / SETTLED).max(1);
    // the power of two that is not above it
    1 << wanted.ilog2().min(super::MAX_BUCKETS.ilog2())
}

impl RecordStore {
    /// The next version: these owners have now what is given, all others what they had. Buckets
    /// in which no owner is named are shared. Costs the touched buckets and a look at the list of
    /// them all; only when the store has grown or shrunk to a multiple is it laid out anew.
    ///
    /// Owners and records must be as [`fits`](super::fits) wants them. Of an owner that comes twice the
    /// last one counts.
    pub fn derive<'a>(
        &self,
        changes: impl IntoIterator<Item = (&'a [u8], Option<Kept<'a>>)>,
    ) -> RecordStore {
        let place = |labels| self.spread.bucket(labels, self.buckets.len());
        let changes = changes.into_iter().map(|(labels, kept)| ((place(labels), labels), kept));
        let mut changes: Changes<'_> = changes.collect();
        let mut target = Target::new(Kinds::of(&self.kinds));
        target.totals = self.totals;
        let mut buckets = self.buckets.clone();
        while let Some((&(place, _), _)) = changes.first_key_value() {
            let later = changes.split_off(&(place + 1, &[][..]));
            let Some(bucket) = buckets.get_mut(place) else { break };
            target.rewrite(bucket, std::mem::replace(&mut changes, later));
            *bucket = Arc::from(&target.open[..]);
            target.open.clear();
        }
        target.buckets = buckets;
        target.store(self.spread.clone()).settled()
    }

    /// The same with another number of buckets, if it has far too many or too few.
    fn settled(self) -> RecordStore {
        let (owners, buckets) = (self.totals.owners, self.buckets.len());
        let thin = buckets > 1 && owners < buckets * THIN;
        if !thin && owners <= buckets * CROWDED { self } else { self.laid_out(buckets_for(owners)) }
    }

    pub(super) fn laid_out(self, buckets: usize) -> RecordStore {
        let old = self.buckets.len();
        // owners of so many old buckets share so many new ones with nobody else
        let groups = old.min(buckets);
        let mut target = Target::new(Kinds::of(&self.kinds));
        for (group, own) in self.buckets.chunks(old / groups).enumerate() {
            let entries = own.iter().flat_map(|bucket| Entries::of(bucket));
            let place = |entry: &Entry<'_>| self.spread.bucket(entry.labels(), buckets);
            let mut entries: Vec<(usize, Entry<'_>)> = entries.map(|e| (place(&e), e)).collect();
            entries.sort_unstable_by(|(a, x), (b, y)| (a, x.labels()).cmp(&(b, y.labels())));
            for (bucket, entry) in entries {
                target.close_before(bucket);
                target.open.extend_from_slice(entry.raw);
                target.totals.add(&entry);
            }
            target.close_before((group + 1) * (buckets / groups));
        }
        target.store(self.spread)
    }
}

impl Target {
    fn new(kinds: Kinds) -> Target {
        Target { kinds, totals: Totals::default(), open: Vec::new(), buckets: Vec::new() }
    }

    /// Ends buckets until this one is the next to be written.
    fn close_before(&mut self, bucket: usize) {
        while self.buckets.len() < bucket {
            self.buckets.push(Arc::from(&self.open[..]));
            self.open.clear();
        }
    }

    /// Writes an owner. The records are in their order, without doubles.
    fn put(&mut self, labels: &[u8], code: Option<ActionCode>, records: &[Record<'_>]) {
        if records.is_empty() {
            return;
        }
        entry::write(&mut self.open, &mut self.kinds, labels, code, records.iter().copied());
        self.totals.owners += 1;
        self.totals.rules += usize::from(code.is_some());
        self.totals.records += records.len();
    }

    /// Writes a bucket with changes to it.
    fn rewrite(&mut self, old: &[u8], changes: Changes<'_>) {
        let mut changes = changes.into_iter().map(|((_, labels), kept)| (labels, kept)).peekable();
        for entry in Entries::of(old) {
            while let Some((labels, kept)) = changes.next_if(|(l, _)| *l < entry.labels()) {
                self.put_kept(labels, kept);
            }
            match changes.next_if(|(labels, _)| *labels == entry.labels()) {
                None => self.open.extend_from_slice(entry.raw),
                Some((labels, kept)) => {
                    self.totals.take_back(&entry);
                    self.put_kept(labels, kept);
                }
            }
        }
        changes.for_each(|(labels, kept)| self.put_kept(labels, kept));
    }

    fn put_kept(&mut self, labels: &[u8], kept: Option<Kept<'_>>) {
        let Some(mut kept) = kept else { return };
        kept.records.sort_by(Record::order);
        kept.records.dedup_by(|later, first| later.order(first).is_eq());
        self.put(labels, kept.code, &kept.records);
    }

    fn store(self, spread: Spread) -> RecordStore {
        let (kinds, buckets, totals) = (self.kinds.list.into(), self.buckets, self.totals);
        RecordStore { spread, kinds, buckets, totals }
    }
}
