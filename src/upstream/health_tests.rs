//! The state machine of one backend, with invented time.

use std::io::ErrorKind;

use super::*;

const ALONE: Around = Around { others_up: false, peer_share: None, roll: 0.5 };
const PEER: Around = Around { others_up: true, peer_share: Some(0.0), roll: 0.5 };
const REFUSED: Fault = Fault::Connect(ErrorKind::ConnectionRefused);

struct Scene {
    health: Health,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now();
        Scene { health: Health::new(now), now }
    }

    fn pass(&mut self, ms: u64) -> &mut Self {
        self.now += Duration::from_millis(ms);
        self
    }

    fn on(&mut self, event: Event, around: Around) -> Option<Change> {
        self.health.on(self.now, event, around)
    }

    fn fail(&mut self, fault: Fault, around: Around) -> Option<Change> {
        self.on(Event::Failed(fault), around)
    }

    /// Moves to the next probe and lets it end.
    fn probe(&mut self, outcome: Result<(), Fault>) -> Option<Change> {
        self.now = self.now.max(self.health.next_probe().expect("a probe is due"));
        self.on(Event::Probed(outcome), PEER)
    }
}

#[test]
fn one_refused_connect_is_enough_if_a_peer_is_up() {
    let mut scene = Scene::new();
    assert_eq!(scene.fail(REFUSED, PEER), Some(Change::Down));
    let mut scene = Scene::new();
    assert_eq!(scene.fail(REFUSED, ALONE), None);
    assert_eq!(scene.fail(REFUSED, ALONE), Some(Change::Down));
}

#[test]
fn an_answer_between_two_faults_keeps_it_up() {
    let mut scene = Scene::new();
    for _ in 0..10 {
        assert_eq!(scene.fail(Fault::Status(500), PEER), None);
        assert_eq!(scene.on(Event::Answered, PEER), None);
    }
    scene.fail(Fault::Status(500), PEER);
    assert_eq!(scene.fail(Fault::Status(500), PEER), Some(Change::Down));
}

#[test]
fn two_good_probes_bring_it_back_and_a_bad_one_starts_over() {
    let mut scene = Scene::new();
    scene.fail(REFUSED, PEER);
    assert_eq!(scene.probe(Ok(())), None);
    assert!(scene.health.is_recovering());
    assert_eq!(scene.probe(Err(REFUSED)), None);
    assert_eq!(scene.probe(Ok(())), None);
    assert_eq!(scene.probe(Ok(())), Some(Change::Up));
    assert_eq!(scene.health.next_probe(), None);
    assert_eq!(scene.health.settled_at(), scene.now + limits::FAIL_BACK_HOLD);
}

#[test]
fn transport_faults_are_probed_soon_enough_to_recover_in_five_seconds() {
    let mut scene = Scene::new();
    let around = Around { roll: 0.999, ..PEER };
    scene.fail(REFUSED, around);
    for _ in 0..50 {
        let before = scene.now;
        scene.now = scene.health.next_probe().unwrap();
        assert!(scene.now - before <= Duration::from_secs(3));
        assert!(scene.now - before >= Duration::from_millis(300));
        scene.on(Event::Probed(Err(REFUSED)), around);
    }
    let faulty_until = scene.now;
    scene.probe(Ok(()));
    scene.probe(Ok(()));
    assert!(scene.health.is_up());
    assert!(scene.now - faulty_until < Duration::from_secs(5));
}

#[test]
fn wrong_paths_are_probed_less_and_less_often() {
    let mut scene = Scene::new();
    scene.fail(Fault::WrongPath(404), PEER);
    scene.fail(Fault::WrongPath(404), PEER);
    let mut longest = Duration::ZERO;
    for _ in 0..30 {
        let before = scene.now;
        scene.probe(Err(Fault::WrongPath(404)));
        longest = longest.max(scene.now - before);
    }
    assert!(longest > Duration::from_secs(20) && longest <= limits::PROBE_PAUSE_SICK);
    scene.health.look_again(scene.now);
    assert_eq!(scene.health.next_probe(), Some(scene.now));
}

#[test]
fn retry_after_bars_and_moves_the_probe() {
    let mut scene = Scene::new();
    let wait = Duration::from_secs(7);
    assert_eq!(scene.fail(Fault::Limited(429, Some(wait)), ALONE), Some(Change::Down));
    assert_eq!(scene.health.barred_until(), Some(scene.now + wait));
    assert_eq!(scene.health.next_probe(), Some(scene.now + wait));
    assert_eq!(scene.probe(Ok(())), Some(Change::Up));
    assert_eq!(scene.health.barred_until(), None);
}

#[test]
fn no_time_at_all_is_still_a_pause() {
    let mut scene = Scene::new();
    scene.fail(Fault::Limited(503, Some(Duration::ZERO)), ALONE);
    assert_eq!(scene.health.next_probe(), Some(scene.now + limits::OWN_BACK_OFF_MIN));
}

#[test]
fn own_back_off_grows_within_its_bounds() {
    for roll in [0.0, 0.999] {
        let mut scene = Scene::new();
        let around = Around { roll, ..ALONE };
        scene.fail(Fault::Limited(503, None), around);
        let mut last = Duration::ZERO;
        for _ in 0..12 {
            let wait = scene.health.barred_until().unwrap() - scene.now;
            assert!(wait >= limits::OWN_BACK_OFF_MIN && wait <= limits::OWN_BACK_OFF_MAX);
            assert!(wait >= last);
            last = wait;
            scene.now += wait;
            scene.on(Event::Probed(Err(Fault::Limited(503, None))), around);
        }
        assert!(last >= Duration::from_secs(30));
    }
}

#[test]
fn a_half_dead_backend_is_out_within_twenty_failed_questions() {
    let mut scene = Scene::new();
    for _ in 0..1000 {
        scene.pass(10).on(Event::Answered, PEER);
    }
    let failed =
        (0..100).take_while(|&i| scene.pass(10).on(Event::Overtaken(i), PEER).is_none()).count();
    assert!(!scene.health.is_up() && failed < 20, "{failed}");
    assert!(scene.health.next_probe().unwrap() - scene.now >= limits::WORSE_PAUSE);
}

#[test]
fn a_fresh_half_dead_backend_is_out_after_twenty() {
    let mut scene = Scene::new();
    let failed =
        (0..100).take_while(|&i| scene.pass(10).on(Event::Overtaken(i), PEER).is_none()).count();
    assert_eq!(failed + 1, limits::SHARE_TRIES);
}

#[test]
fn few_names_or_a_peer_no_better_or_no_peer_prove_nothing() {
    let mut few = Scene::new();
    let mut same = Scene::new();
    let mut alone = Scene::new();
    for i in 0..200 {
        few.pass(10).on(Event::Overtaken(i % 5), PEER);
        let around = Around { peer_share: Some(0.6), ..PEER };
        same.pass(10).on(Event::Overtaken(i), around);
        alone.pass(10).on(Event::Overtaken(i), ALONE);
    }
    assert!(few.health.is_up() && same.health.is_up() && alone.health.is_up());
}

#[test]
fn old_failures_do_not_count() {
    let mut scene = Scene::new();
    for i in 0..200 {
        scene.pass(2_000).on(Event::Overtaken(i), PEER);
    }
    assert!(scene.health.is_up());
}

#[test]
fn the_worse_backend_stays_out_longer_each_time() {
    let mut scene = Scene::new();
    let mut pauses = Vec::new();
    for _ in 0..4 {
        for i in 0..40 {
            scene.pass(10).on(Event::Overtaken(i), PEER);
        }
        pauses.push(scene.health.next_probe().unwrap() - scene.now);
        scene.probe(Ok(()));
        scene.probe(Ok(()));
        assert!(scene.health.is_up());
    }
    assert!(pauses.windows(2).all(|pair| pair[1] > pair[0]), "{pauses:?}");
}

#[test]
fn resets_on_every_request_lower_it_and_on_every_tenth_do_not() {
    let mut scene = Scene::new();
    let reset = Fault::Reset(h2::Reason::INTERNAL_ERROR);
    for i in 0..1000 {
        match i % 10 {
            0 => scene.pass(10).fail(reset.clone(), ALONE),
            _ => scene.pass(10).on(Event::Answered, ALONE),
        };
    }
    assert!(scene.health.is_up());
    for _ in 0..32 {
        scene.pass(10).fail(reset.clone(), ALONE);
    }
    assert!(!scene.health.is_up());
}

#[test]
fn tries_without_answer_call_for_a_probe_that_decides() {
    let mut scene = Scene::new();
    scene.on(Event::Slow, PEER);
    scene.on(Event::Slow, PEER);
    assert_eq!(scene.health.next_probe(), None);
    scene.on(Event::Slow, PEER);
    assert_eq!(scene.probe(Ok(())), None);
    assert_eq!(scene.health.next_probe(), None, "the names were slow, not the backend");
    for _ in 0..3 {
        scene.on(Event::Slow, PEER);
    }
    assert_eq!(scene.probe(Err(Fault::Unanswered)), None);
    assert_eq!(scene.probe(Err(Fault::Unanswered)), Some(Change::Down));
}

#[test]
fn an_answer_ends_the_outage_only_if_nothing_else_is_up() {
    let mut scene = Scene::new();
    scene.fail(REFUSED, PEER);
    assert_eq!(scene.on(Event::Answered, PEER), None);
    assert_eq!(scene.on(Event::Answered, ALONE), Some(Change::Up));
}

#[test]
fn our_own_bounds_say_nothing_about_the_backend() {
    let mut scene = Scene::new();
    for _ in 0..100 {
        scene.fail(Fault::Busy, PEER);
        scene.fail(Fault::ConnectLimit, PEER);
    }
    assert!(scene.health.is_up() && scene.health.last_fault().is_none());
}

#[test]
fn a_flapping_backend_writes_at_most_one_line_in_ten_seconds() {
    let mut scene = Scene::new();
    let mut lines = Vec::new();
    for _ in 0..30 {
        scene.fail(REFUSED, PEER);
        lines.extend(scene.health.due_line(scene.now));
        scene.pass(2_000);
        scene.on(Event::Answered, ALONE);
        lines.extend(scene.health.due_line(scene.now));
        scene.pass(2_000);
    }
    assert!(lines.len() <= 13 && lines.len() >= 3, "{}", lines.len());
    assert!(matches!(lines[0], Line::Down(_, 0)));
    let hidden = |line: &Line| match line {
        Line::Down(_, n) | Line::Up(_, n) => *n,
    };
    let hidden: u32 = lines.iter().map(hidden).sum();
    assert!(hidden > 20, "{hidden}");
}

#[test]
fn the_last_state_is_logged_when_the_pause_is_over() {
    let mut scene = Scene::new();
    scene.fail(REFUSED, PEER);
    assert!(scene.health.due_line(scene.now).is_some());
    scene.pass(3_000).on(Event::Answered, ALONE);
    assert_eq!(scene.health.due_line(scene.now), None);
    let due = scene.health.line_due_at().unwrap();
    scene.now = due;
    assert!(matches!(scene.health.due_line(due), Some(Line::Up(_, 0))));
    assert_eq!(scene.health.line_due_at(), None);
}
