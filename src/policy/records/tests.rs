//! The store against a plain map, against itself made another way, and against damaged parts.

use super::*;
use std::collections::BTreeMap;
use std::convert::Infallible;

type Model = BTreeMap<Vec<u8>, (Option<ActionCode>, Vec<(u16, u32, Vec<u8>)>)>;

/// An owner that is often drawn again: labels without root label.
fn owner(rng: &mut fastrand::Rng, many: u32) -> Vec<u8> {
    match rng.u8(..20) {
        0 => Vec::new(),
        1 => b"\x01*\x01a".to_vec(),
        2 => [&[63; 64][..], &[63; 64], &[63; 64], &[61; 62]].concat(),
        _ => {
            let text = format!("n{}", rng.u32(..many));
            [&[text.len() as u8][..], text.as_bytes(), b"\x03com"].concat()
        }
    }
}

fn code(rng: &mut fastrand::Rng) -> Option<ActionCode> {
    let codes = [0, 1, 4, 253, 254, 255, 256, u32::MAX];
    rng.bool().then(|| ActionCode::from_u32(codes[rng.usize(..codes.len())]))
}

fn records(rng: &mut fastrand::Rng) -> Vec<(u16, u32, Vec<u8>)> {
    let count = if rng.u8(..50) == 0 { 300 } else { rng.usize(1..4) };
    let mut all: Vec<(u16, u32, Vec<u8>)> = (0..count)
        .map(|_| {
            let rtype = [1, 5, 16, 28][rng.usize(..4)];
            let len = [0, 1, 4, 254, 255, 256, 3_000][rng.usize(..7)];
            let fill = rng.u8(..);
            (rtype, rng.u32(..200), vec![fill; len])
        })
        .collect();
    sort(&mut all);
    all
}

/// As the store has them: in their order, the first of equal ones.
fn sort(all: &mut Vec<(u16, u32, Vec<u8>)>) {
    all.sort_by(|a, b| record(a).order(&record(b)).then_with(|| a.cmp(b)));
    all.dedup_by(|later, first| record(later).order(&record(first)).is_eq());
}

fn record((rtype, ttl, rdata): &(u16, u32, Vec<u8>)) -> Record<'_> {
    Record { rtype: *rtype, ttl: *ttl, rdata }
}

/// The store with the content of the model, its records coming in a random order.
fn built(model: &Model, seed: u64, rng: &mut fastrand::Rng) -> RecordStore {
    let mut all: Vec<(&Vec<u8>, Record<'_>)> = model
        .iter()
        .flat_map(|(labels, (_, records))| records.iter().map(move |r| (labels, record(r))))
        .collect();
    rng.shuffle(&mut all);
    let mut builder = Builder::new(seed);
    all.iter().for_each(|(labels, record)| builder.push(labels, record));
    assert_eq!((builder.len(), builder.is_empty()), (all.len(), all.is_empty()));
    builder.finish(|labels, _| Ok::<_, Infallible>(model[labels].0)).unwrap()
}

fn same(store: &RecordStore, model: &Model) {
    let mut owners = 0;
    for owner in store.iter() {
        let (code, records) = &model[owner.labels];
        assert_eq!(owner.code, *code);
        assert!(owner.records.eq(records.iter().map(record)));
        owners += 1;
    }
    let totals = Totals {
        owners: model.len(),
        rules: model.values().filter(|(code, _)| code.is_some()).count(),
        records: model.values().map(|(_, records)| records.len()).sum(),
    };
    assert_eq!((owners, store.totals()), (model.len(), totals));
    for (labels, (code, records)) in model {
        let owner = store.get(labels).unwrap();
        assert_eq!((owner.labels, owner.code), (&labels[..], *code));
        assert_eq!(owner.records.len(), records.len());
    }
    assert!(store.get(b"\x06absent").is_none());
    let mut rules: Vec<(Vec<u8>, ActionCode)> =
        store.rules().map(|(wire, code)| (wire.to_vec(), code)).collect();
    rules.sort_by_key(|(wire, code)| (wire.clone(), code.as_u32()));
    let with_root = |labels: &Vec<u8>| [labels, &[0][..]].concat();
    let wanted = model.iter().filter_map(|(l, (code, _))| Some((with_root(l), (*code)?)));
    let mut wanted: Vec<(Vec<u8>, ActionCode)> = wanted.collect();
    wanted.sort_by_key(|(wire, code)| (wire.clone(), code.as_u32()));
    assert_eq!(rules, wanted);
}

/// The parts of a store make the same store again.
fn raw(store: &RecordStore) -> RecordStore {
    let buckets = store.buckets().map(Arc::from).collect();
    RecordStore::from_raw(store.seed(), store.kinds(), buckets).expect("its own parts")
}

/// The same octets, the kinds numbered alike.
fn identical(a: &RecordStore, b: &RecordStore) -> bool {
    a.seed() == b.seed() && a.kinds() == b.kinds() && a.buckets().eq(b.buckets())
}

#[test]
fn changes_leave_no_trace() {
    for seed in 0..12 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let many = [5, 40, 3_000][rng.usize(..3)];
        let mut model = Model::new();
        for _ in 0..rng.u32(..many) {
            model.insert(owner(&mut rng, many), (code(&mut rng), records(&mut rng)));
        }
        let mut store = built(&model, seed, &mut rng);
        same(&store, &model);
        for step in 0..25 {
            let mut changes: BTreeMap<Vec<u8>, _> = BTreeMap::new();
            let size = if step == 20 { 2 * many } else { rng.u32(..20) };
            for _ in 0..size {
                let kept = rng.u8(..3) > 0 && step != 20;
                let what = kept.then(|| (code(&mut rng), records(&mut rng)));
                changes.insert(owner(&mut rng, many), what);
            }
            store = store.derive(changes.iter().map(|(labels, what)| {
                let kept = what.as_ref().map(|(code, records)| {
                    let mut records: Vec<Record<'_>> = records.iter().map(record).collect();
                    rng.shuffle(&mut records);
                    Kept { code: *code, records }
                });
                (&labels[..], kept)
            }));
            for (labels, what) in changes {
                match what {
                    Some(what) => drop(model.insert(labels, what)),
                    None => drop(model.remove(&labels)),
                }
            }
            same(&store, &model);
            assert!(identical(&raw(&store), &store));
        }
        // the same content put together at once, with the kinds and buckets that came about
        let again = RecordStore { kinds: Arc::clone(&store.kinds), ..RecordStore::empty(seed) };
        let all = model.iter().map(|(labels, (code, records))| {
            let records = records.iter().map(record).collect();
            (&labels[..], Some(Kept { code: *code, records }))
        });
        let again = again.derive(all).laid_out(store.buckets.len());
        assert!(identical(&again, &store));
    }
}

#[test]
fn untouched_buckets_are_shared() {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut model = Model::new();
    while model.len() < 20_000 {
        model.insert(owner(&mut rng, 100_000), (None, vec![(1, 60, vec![1; 4])]));
    }
    let store = built(&model, 7, &mut rng);
    assert_eq!(store.buckets().len(), 128, "of 156 owners on average");
    let records = vec![Record { rtype: 1, ttl: 5, rdata: &[2; 4] }];
    let next = store.derive([(&b"\x03new"[..], Some(Kept { code: None, records }))]);
    let shared = store.buckets().zip(next.buckets()).filter(|(a, b)| std::ptr::eq(*a, *b));
    assert_eq!(shared.count(), 127);
    // twice as many, and as few: the number of buckets follows
    let small = next.derive(model.keys().skip(100).map(|labels| (&labels[..], None)));
    assert_eq!((small.totals().owners, small.buckets().len()), (101, 1));
}

#[test]
fn of_equal_records_one_stays_whatever_came_first() {
    let equal = [(5, 60, b"\x01B\x00".to_vec()), (5, 30, b"\x01b\x00".to_vec())];
    let other = (2, 60, b"\x01c\x00".to_vec());
    for order in [[0, 1], [1, 0]] {
        let mut builder = Builder::new(1);
        builder.push(b"\x01x", &record(&other));
        order.iter().for_each(|&i| builder.push(b"\x01x", &record(&equal[i])));
        let store = builder.finish(|_, _| Ok::<_, Infallible>(None)).unwrap();
        let kept: Vec<Record<'_>> = store.get(b"\x01x").unwrap().records.collect();
        assert_eq!(kept, [record(&equal[0]), record(&other)], "CNAME first");
    }
}

#[test]
fn the_judge_can_end_it() {
    let mut builder = Builder::new(1);
    builder.push(b"\x01x", &Record { rtype: 1, ttl: 1, rdata: &[] });
    assert_eq!(builder.finish(|_, _| Err("no")).map(|_| ()), Err("no"));
}

#[test]
fn what_a_store_can_hold() {
    let longest = [&[63; 64][..], &[63; 64], &[63; 64], &[61; 62]].concat();
    for good in [&b""[..], b"\x01*", b"\x01a\x02bc", &longest] {
        assert!(fits(good, &[0; 65_535]), "{good:?}");
    }
    for bad in [&b"\x00"[..], b"\x01A", b"\x02a", b"\x40", b"\x01a\x00", &[1; 256]] {
        assert!(!fits(bad, &[]), "{bad:?}");
    }
    assert!(!fits(b"", &[0; 65_536]));
}

/// Kinds until there is no more room, and one more.
fn crowded_with_kinds() -> RecordStore {
    let store = RecordStore::empty(1);
    let ttls: Vec<u32> = (0..=MAX_KINDS as u32).collect();
    let rdata: Vec<[u8; 4]> = ttls.iter().map(|ttl| ttl.to_be_bytes()).collect();
    let records = ttls.iter().zip(&rdata);
    let records = records.map(|(&ttl, rdata)| Record { rtype: 1, ttl, rdata }).collect();
    store.derive([(&b"\x01k"[..], Some(Kept { code: None, records }))])
}

#[test]
fn any_number_of_kinds_fits() {
    let store = crowded_with_kinds();
    assert_eq!(store.kinds().len(), MAX_KINDS);
    let ttls = store.get(b"\x01k").unwrap().records.map(|record| record.ttl);
    assert!(ttls.eq(0..=MAX_KINDS as u32));
    assert!(identical(&raw(&store), &store));
    // without the list, all kinds would have to be found in it
    let buckets: Vec<Arc<[u8]>> = store.buckets().map(Arc::from).collect();
    assert!(RecordStore::from_raw(1, &store.kinds()[1..], buckets).is_none());
}

#[test]
fn damaged_parts_are_refused_or_harmless() {
    let mut rng = fastrand::Rng::with_seed(11);
    let mut model = Model::new();
    for n in 0..300_u32 {
        let labels = [&[4][..], format!("{n:04}").as_bytes()].concat();
        model.insert(labels, (code(&mut rng), vec![(1, n % 3, vec![1; 4])]));
    }
    let store = built(&model, 5, &mut rng);
    let whole: Vec<Arc<[u8]>> = store.buckets().map(Arc::from).collect();
    assert_eq!(whole.len(), 2);
    let load = |buckets: Vec<Arc<[u8]>>| RecordStore::from_raw(5, store.kinds(), buckets);
    // whole owners that are missing can only be seen by counting
    let fewer = load(whole[..1].to_vec()).unwrap();
    assert!(fewer.totals().owners < store.totals().owners);
    assert!(load(vec![Arc::clone(&whole[1]), Arc::clone(&whole[0])]).is_none());
    assert!(load([&whole[..], &whole[..1]].concat()).is_none(), "three buckets");
    assert!(load(Vec::new()).is_none());
    assert!(RecordStore::from_raw(6, store.kinds(), whole.clone()).is_none(), "another seed");
    assert!(RecordStore::from_raw(5, &[(1, 1); 2], whole.clone()).is_none(), "a kind twice");
    assert!(RecordStore::from_raw(5, &[(1, 1); 300], whole.clone()).is_none());
    for at in 0..whole[0].len() {
        assert!(load(vec![whole[0][..at].into(), Arc::clone(&whole[1])]).is_none_or(|cut| {
            cut.totals().owners < store.totals().owners && identical(&raw(&cut), &cut)
        }));
        for bit in 0..8 {
            let mut octets = whole[0].to_vec();
            octets[at] ^= 1 << bit;
            // what is taken has to be as good as any other store
            if let Some(other) = load(vec![octets.into(), Arc::clone(&whole[1])]) {
                let all: Vec<Owner<'_>> = other.iter().collect();
                assert_eq!(all.len(), other.totals().owners);
                assert!(all.iter().all(|o| o.records.clone().count() == o.records.len()));
                assert!(all.iter().all(|o| other.get(o.labels).is_some()));
            }
        }
    }
}

#[test]
fn a_rule_takes_few_octets() {
    let mut builder = Builder::new(9);
    for n in 0..100_000_u32 {
        let label = format!("host{n:08}");
        let labels = [&[12][..], label.as_bytes(), b"\x07example\x03com"].concat();
        builder.push(&labels, &Record { rtype: 5, ttl: 60, rdata: &[0] });
    }
    let store = builder.finish(|_, _| Ok::<_, Infallible>(Some(ActionCode::from_u32(0)))).unwrap();
    // 25 octets of labels and 7 of packing
    let each = store.bytes() as f64 / store.totals().rules as f64;
    assert!((32.0..34.0).contains(&each), "{each} octets a rule");
}
