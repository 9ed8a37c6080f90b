//! Keepers against a primary of a few lines, with nobody else in the house.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::policy::rules::Soa;
use crate::policy::set::Mode;
use crate::zones::source::{Care, Origin};
use crate::zones::status::ZoneState;
use crate::zones::timers::{Timers, Times};
use crate::zones::{Begin, Terms, Zones};

const SERIAL: u32 = 7;
const PATIENCE: Duration = Duration::from_secs(30);

/// A primary that answers about its SOA, once for each permit.
struct Lean {
    permits: Semaphore,
    asked: AtomicUsize,
}

impl Lean {
    async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut talks = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            talks.spawn(Arc::clone(&self).talk(stream));
        }
    }

    async fn talk(self: Arc<Self>, mut stream: TcpStream) {
        while let Ok(length) = stream.read_u16().await {
            let mut message = vec![0; length.into()];
            stream.read_exact(&mut message).await.unwrap();
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.permits.acquire().await.unwrap().forget();
            // QR, AA, one answer: the SOA of the name in the question
            message[2] |= 0x84;
            message[7] = 1;
            message.extend([0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 60, 0, 22, 0, 0]);
            for number in [SERIAL, 86_400, 60, 864_000, 60] {
                message.extend(number.to_be_bytes());
            }
            stream.write_u16(message.len() as u16).await.unwrap();
            stream.write_all(&message).await.unwrap();
        }
    }

    async fn was_asked(&self, times: usize) {
        let asked = async {
            while self.asked.load(Ordering::SeqCst) < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("it is asked {times} times"));
    }
}

/// An enforcer with the rules of a saved copy.
struct House {
    rules: Arc<ZoneRules>,
    folder: tempfile::TempDir,
    /// Asking for the rules in force for the so-manieth time ends in a panic; 0: never.
    panics: AtomicUsize,
    /// What accepting a version comes to.
    accepts: Mutex<Result<Verdict, String>>,
}

impl Enforcer for House {
    fn in_force(&self, _: &Name) -> Option<(Arc<ZoneRules>, u64)> {
        let left =
            self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        assert!(left != Ok(1), "a panic that the test wants");
        Some((Arc::clone(&self.rules), 1))
    }

    fn offer(&self, _: Offer) -> Later<Result<Verdict, String>> {
        Box::pin(async { Err("nothing is taken here".to_owned()) })
    }

    fn accept(&self, _: Arc<ZoneRules>) -> Later<Result<Verdict, String>> {
        let accepts = self.accepts.lock().unwrap().clone();
        Box::pin(async { accepts })
    }

    fn renew(&self) -> Later<()> {
        Box::pin(async {})
    }

    fn resolver(&self) -> Arc<dyn Resolver> {
        unreachable!("primaries have addresses")
    }

    fn state_folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

/// A zone with rules in force, the keeper that the test runs, and its primary.
struct Scene {
    remote: Arc<Remote>,
    primary: Arc<Lean>,
    /// Ends with the scene.
    _serving: JoinSet<()>,
    keeper: Keeper,
    house: Arc<House>,
}

async fn scene(change: impl FnOnce(&mut Source)) -> Scene {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut source = Source::example(listener.local_addr().unwrap());
    change(&mut source);
    let primary = Arc::new(Lean { permits: Semaphore::new(0), asked: AtomicUsize::new(0) });
    let mut serving = JoinSet::new();
    serving.spawn(Arc::clone(&primary).serve(listener));
    let mut rules = ZoneRules::none(source.settings.name);
    rules.soa = Soa { serial: SERIAL, refresh: 86_400, expire: 864_000, ..Soa::default() };
    let house = Arc::new(House {
        rules: Arc::new(rules),
        folder: tempfile::tempdir().unwrap(),
        panics: AtomicUsize::new(0),
        accepts: Mutex::new(Err("nothing is accepted here".to_owned())),
    });
    let remote = Arc::new(Remote::new(source.settings.name));
    let enforcer = Arc::clone(&house);
    let keeper = Keeper { source, remote: Arc::clone(&remote), enforcer };
    Scene { remote, primary, _serving: serving, keeper, house }
}

/// Nothing is to be done by itself.
async fn is_idle(keeper: &Keeper) -> bool {
    timeout(Duration::from_millis(20), keeper.next_chore()).await.is_err()
}

fn version(serial: u32) -> Arc<ZoneRules> {
    let mut rules = ZoneRules::none("feed.test".parse().unwrap());
    rules.soa.serial = serial;
    Arc::new(rules)
}

#[tokio::test]
async fn a_notify_during_a_look_leads_to_another() {
    let Scene { remote, primary, keeper, _serving, .. } = scene(|_| {}).await;
    let mut keeping = JoinSet::new();
    keeping.spawn(keeper.run());
    primary.was_asked(1).await;
    // the version that it tells of may be newer than the one that is answered now
    remote.bell.ring();
    primary.permits.add_permits(1);
    primary.was_asked(2).await;
    primary.permits.add_permits(1);
    // and a burst while the keeper waits is one more
    let heard = async {
        while remote.lock().heeded < 1 || remote.lock().told.busy.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, heard).await.expect("the second look ends");
    (0..100).for_each(|_| remote.bell.ring());
    primary.permits.add_permits(2);
    primary.was_asked(3).await;
}

#[tokio::test]
async fn a_panic_costs_a_look_and_not_the_keeper() {
    let Scene { remote, primary, keeper, house, _serving } = scene(|_| {}).await;
    // the second time is in the middle of the look
    house.panics.store(2, Ordering::SeqCst);
    primary.permits.add_permits(2);
    let mut keeping = JoinSet::new();
    keeping.spawn(keeper.run());
    primary.was_asked(2).await;
    let heard = async {
        while remote.lock().told.last_contact.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, heard).await.expect("the second look comes to an end");
    assert_eq!(remote.lock().told.failed_total, 1);
}

/// Timers of a zone whose source was last heard long ago.
fn expired() -> Timers {
    let soa = Soa { refresh: 3600, expire: 86_400, ..Soa::default() };
    Timers::new(Moment::now(), Some((Times::of_soa(&soa), Duration::MAX)), 1)
}

#[tokio::test]
async fn what_was_never_loaded_cannot_be_withdrawn_over_and_over() {
    let Scene { remote, keeper, .. } = scene(|source| source.care.withdraw = true).await;
    // heard, but its first version is held
    remote.lock().timers = expired();
    assert!(is_idle(&keeper).await);
    remote.lock().loaded = true;
    assert!(!is_idle(&keeper).await);
    keeper.chores().await;
    assert!(remote.is_withdrawn() && is_idle(&keeper).await);
    assert_eq!(remote.state(&keeper.source.care), ZoneState::Withdrawn);
}

#[tokio::test]
async fn rules_act_again_once_the_operator_wants_expired_ones_kept() {
    let mode = |zones: &Zones| zones.policy(1, &Terms::default(), None).zones()[0].settings.mode;
    let mut source = Source::example("192.0.2.1:53".parse().unwrap());
    source.care.withdraw = true;
    let zones = Zones::default().reconfigured(&[source.clone()], Begin::Check).unwrap();
    {
        let mut state = zones.remote(&source.settings.name).unwrap().lock();
        (state.timers, state.loaded, state.withdrawn) = (expired(), true, true);
    }
    assert_eq!(mode(&zones), Mode::Off);
    source.care.withdraw = false;
    let zones = zones.reconfigured(&[source.clone()], Begin::Check).unwrap();
    assert_eq!(mode(&zones), Mode::Enforce);
    let remote = zones.remote(&source.settings.name).unwrap();
    assert_eq!(remote.state(&source.care), ZoneState::Expired);
}

#[tokio::test]
async fn queries_that_wait_for_ever_stop_once_the_operator_says_so() {
    let Scene { remote, mut keeper, .. } = scene(|source| source.care.open_after = None).await;
    remote.await_first();
    assert!(is_idle(&keeper).await);
    // a reload has another keeper take over
    keeper.source.care.open_after = Some(Duration::ZERO);
    keeper.chores().await;
    assert!(!remote.is_awaited());
    assert!(is_idle(&keeper).await);
}

#[tokio::test]
async fn what_is_held_long_enough_is_taken_once_and_is_no_contact() {
    let Scene { remote, keeper, house, .. } =
        scene(|source| source.care.hold_max = Some(Duration::from_millis(300))).await;
    remote.hold(version(8), vec!["loss".to_owned()], true);
    let since = remote.lock().held.as_ref().unwrap().since;
    assert!(is_idle(&keeper).await);
    // a source with a new version every hour does not put it off
    tokio::time::sleep(Duration::from_millis(10)).await;
    remote.hold(version(9), vec!["loss".to_owned()], true);
    assert_eq!(remote.lock().held.as_ref().unwrap().since, since);
    keeper.next_chore().await;
    keeper.chores().await;
    assert!(remote.held().is_some(), "it could not be taken");
    assert!(is_idle(&keeper).await, "and is not tried again at once");
    *house.accepts.lock().unwrap() = Ok(Verdict::InForce { generation: 2, warnings: Vec::new() });
    keeper.next_chore().await;
    keeper.chores().await;
    let state = remote.lock();
    assert_eq!(state.told.last_contact, None, "its source was not heard");
    assert_eq!(state.timers.age_of_contact(Moment::now()), None);
}

#[test]
fn a_hold_for_more_than_loss_begins_anew() {
    let remote = Remote::new("feed.test".parse().unwrap());
    remote.hold(version(8), Vec::new(), false);
    let early = Moment::from_millis(1);
    remote.lock().held.as_mut().unwrap().since = early;
    remote.hold(version(9), Vec::new(), true);
    assert!(remote.lock().held.as_ref().unwrap().since > early);
}

#[test]
fn a_version_on_its_way_is_no_alarm() {
    let remote = Remote::new("feed.test".parse().unwrap());
    {
        let mut state = remote.lock();
        (state.loaded, state.told.newer) = (true, Some(8));
    }
    assert_eq!(remote.state(&Care::default()), ZoneState::Current);
    remote.lock().told.failures = 1;
    assert_eq!(remote.state(&Care::default()), ZoneState::Kept);
}

#[test]
fn a_clock_that_goes_on_is_no_news() {
    assert!(alike("it is 10:00:07 there, 11:00:07 here", "it is 10:00:39 there, 11:00:39 here"));
    assert!(!alike("192.0.2.1 refuses", "192.0.2.1 has stalled"));
}

#[test]
fn copies_are_written_one_after_the_other_and_again_when_they_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let source = Source::example("192.0.2.1:53".parse().unwrap());
    let remote = Remote::new(source.settings.name);
    let save = || save_copy(folder.path(), &source, &remote, |_| Some((version(7), 1)));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    remote.lock().saving.rules = true;
                    save();
                    assert_eq!(remote.lock().saving.error, None);
                }
            });
        }
    });
    let path = saved::path_of(&saved_in(folder.path()), &source.settings.name);
    std::fs::remove_file(&path).unwrap();
    remote.lock().saving.contact = true;
    save();
    assert!(remote.lock().saving.error.is_none() && path.exists());
    let saved = remote.lock().saving.clone();
    save();
    assert_eq!(remote.lock().saving.not_before, saved.not_before, "nothing is left to write");
}

#[tokio::test]
async fn a_primary_that_has_not_heard_yet_does_not_hide_one_that_has() {
    let Scene { remote, primary: first, mut keeper, _serving, .. } = scene(|_| {}).await;
    let Scene { primary: second, keeper: other, _serving: _second, .. } = scene(|_| {}).await;
    if let (Origin::Transfer(own), Origin::Transfer(more)) =
        (&mut keeper.source.origin, other.source.origin)
    {
        own.primaries.extend(more.primaries);
    }
    [&first, &second].iter().for_each(|primary| primary.permits.add_permits(5));
    let mut keeping = JoinSet::new();
    keeping.spawn(keeper.run());
    first.was_asked(1).await;
    remote.bell.ring();
    first.was_asked(2).await;
    second.was_asked(1).await;
    assert_eq!(remote.lock().told.failed_total, 0);
    assert_eq!(first.asked.load(Ordering::SeqCst), 2, "by itself the first one is enough");
}
