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
use crate::policy::set::{Mode, Override, ZoneSettings};
use crate::rpz::Form;
use crate::zones::source::{Care, Origin, Primary, Transfer};

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
    rules: Mutex<Option<Arc<ZoneRules>>>,
    folder: tempfile::TempDir,
}

impl Enforcer for House {
    fn in_force(&self, _: &Name) -> Option<(Arc<ZoneRules>, u64)> {
        self.rules.lock().unwrap().clone().map(|rules| (rules, 1))
    }

    fn offer(&self, _: Name, _: Arc<ZoneRules>, _: Offer) -> Later<Result<Verdict, String>> {
        Box::pin(async { Err("nothing is taken here".to_owned()) })
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

fn source(primary: std::net::SocketAddr) -> Source {
    let name = "feed.test".parse().unwrap();
    Source {
        settings: ZoneSettings {
            name,
            mode: Mode::Enforce,
            action: Override::Given,
            recursive_only: false,
            add_soa: true,
            max_ttl: 5,
            ede: None,
            ede_text: "".into(),
            remote: true,
            log: true,
        },
        origin: Origin::Transfer(Transfer {
            primaries: vec![Primary { address: primary, tls_name: None }],
            key: None,
            notify_from: Vec::new(),
            ca: None,
        }),
        form: Form::Zone,
        max_rules: 10,
        care: Care::default(),
    }
}

/// A zone with rules in force, the keeper that the test runs, and its primary.
struct Scene {
    remote: Arc<Remote>,
    primary: Arc<Lean>,
    /// Ends with the scene.
    _serving: JoinSet<()>,
    keeper: Keeper,
}

async fn scene(change: impl FnOnce(&mut Source)) -> Scene {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut source = source(listener.local_addr().unwrap());
    change(&mut source);
    let primary = Arc::new(Lean { permits: Semaphore::new(0), asked: AtomicUsize::new(0) });
    let mut serving = JoinSet::new();
    serving.spawn(Arc::clone(&primary).serve(listener));
    let mut rules = ZoneRules::none(source.settings.name);
    rules.soa = Soa { serial: SERIAL, refresh: 86_400, expire: 864_000, ..Soa::default() };
    let rules = Mutex::new(Some(Arc::new(rules)));
    let house = Arc::new(House { rules, folder: tempfile::tempdir().unwrap() });
    let remote = Arc::new(Remote::new(source.settings.name));
    let keeper = Keeper { source, remote: Arc::clone(&remote), enforcer: house };
    Scene { remote, primary, _serving: serving, keeper }
}

#[tokio::test]
async fn a_notify_during_a_look_leads_to_another() {
    let Scene { remote, primary, keeper, _serving } = scene(|_| {}).await;
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
