//! A world that is known: the model plays a load, what hooks would have reported of it is collected,
//! and what is predicted of another setting is compared with that setting's world. The kernel's part
//! is the same in both, so what differs is what is made of the application and the clients.

use overflow_common::{Kind, Path as Bits, Queue, RawEvent, Rung, valid};

use super::{
    advise::advise,
    collect::{Collector, Unanswerable},
    fate::Tally,
    recorded::Recorded,
    replay::{Belief, Player, Surroundings},
    setting::{Clients, Setting},
};
use crate::{
    model::{
        application::{Application, Busy, Pace},
        condition::Condition,
        config::{Listener, Sysctls},
        features::Features,
        scenario::{Client, Link, Phase, Scenario},
        simulate::Simulator,
        time::{MS, Nanos, US},
    },
    recording::{Frame, Header},
    verdict::VerdictId,
};
/// From one segment to the next where they come as fast as they are worked off.
const APART: Nanos = 20 * US;

const FEATURES: Features = Features::V6_5.above_backlog();
/// CLOCK_MONOTONIC of the world's beginning.
const BEGIN: Nanos = 1_000_000 * MS;
const UNTIL: Nanos = 8_000 * MS;

/// A load: when clients connect, and what the application does.
struct World {
    connects: Vec<Nanos>,
    data: bool,
    late: Nanos,
    work: Vec<Nanos>,
}

impl World {
    fn scenario(&self, backlog: u32, abort: u8) -> Scenario {
        let pace = Pace {
            busy: vec![Busy { from: Nanos::MIN, accepts: vec![self.late] }],
            gaps: self.work.iter().map(|gap| (0, *gap)).collect(),
            wake_up: 20 * US,
        };
        let client = |connect: &Nanos| Client {
            phase: Phase::Burst,
            connect: *connect,
            payload: if self.data { 100 } else { 0 },
            app_delay: 300 * US,
            gives_up: None,
            rtt: None,
        };
        Scenario {
            features: FEATURES,
            listener: Listener { backlog, ..Listener::default() },
            sysctls: Sysctls {
                abort_on_overflow: abort,
                max_syn_backlog: 4096,
                ..Sysctls::default()
            },
            link: Link { to_server: 25 * US, to_client: 25 * US },
            clients: self.connects.iter().map(client).collect(),
            arrivals: Vec::new(),
            repeated_syns: None,
            accepts: Vec::new(),
            application: Some(Application::AtPace(pace)),
            closes: None,
            until: UNTIL,
            spacing: APART,
            processor: None,
            hash_rnd: 0,
        }
    }

    /// What hooks report of it; `accept()` only where it can be traced.
    fn recorded(&self, (backlog, abort): (u32, u8), traced: bool) -> Recorded {
        let header = Header {
            kernel: "6.13".to_owned(),
            rungs: vec![("accept()".to_owned(), if traced { "fentry" } else { "" }.to_owned())],
            ..Header::default()
        };
        let mut collector = Collector::new(&header, |_, _| true);
        let scenario = self.scenario(backlog, abort);
        let mut simulator = Simulator::default();
        let outcome = simulator.run(&scenario);
        let mut events: Vec<(Nanos, usize, VerdictId, Condition)> = (outcome
            .paths
            .iter()
            .enumerate())
        .flat_map(|(i, path)| path.decisions.iter().map(move |d| (d.t_ns, i, d.id, d.condition)))
        .collect();
        events.sort_by_key(|(t, ..)| *t);
        let mut waiting = 0;
        for (t, i, id, condition) in events {
            let Some((kind, path)) = hooks(id, condition) else { continue };
            if kind != Kind::Accept || traced {
                let queue =
                    Queue { ack_backlog: waiting, max_ack_backlog: backlog, qlen: 0, young: 0 };
                collector.frame(Frame::Event(event(t, i, (kind, path), queue, abort, self.data)));
            }
            if id == VerdictId::LaterAcceptedByApp {
                waiting -= 1;
            } else if id.is_accepted() {
                waiting += 1;
            }
        }
        collector.frame(Frame::End(u64::try_from(BEGIN + UNTIL).unwrap()));
        collector.finish().unwrap()
    }

    fn around(&self) -> Surroundings {
        let clients = Clients { features: FEATURES, data: Some(self.data), timeout: None };
        Surroundings { features: FEATURES, clients }
    }
}

/// Which hook reports a decision, with which path.
fn hooks(id: VerdictId, condition: Condition) -> Option<(Kind, u32)> {
    let child = Bits::SYN_RECV_SOCK_CHILD;
    let null = Bits::SYN_RECV_SOCK_NULL;
    Some(match id {
        _ if condition == Condition::RetransmittedSyn => return None,
        VerdictId::SynQueued => (Kind::Syn, Bits::CONN_REQUEST | Bits::REQSK_HASHED),
        VerdictId::SynCookie => (Kind::Syn, Bits::CONN_REQUEST | Bits::COOKIE_INIT),
        VerdictId::SynDropAcceptQueueFull => (Kind::Syn, Bits::CONN_REQUEST),
        VerdictId::AckAccepted => (Kind::Ack, Bits::CHECK_REQ | Bits::CHECK_REQ_CHILD | child),
        VerdictId::AckAcceptedCookie => {
            (Kind::Ack, Bits::COOKIE_CHECK | Bits::COOKIE_CHECK_CHILD | child)
        }
        VerdictId::AckDropOverflow => (Kind::Ack, Bits::CHECK_REQ | Bits::CHECK_REQ_NULL | null),
        VerdictId::AckDropOverflowCookie => {
            (Kind::Ack, Bits::COOKIE_CHECK | Bits::COOKIE_CHECK_NULL | null)
        }
        VerdictId::AckResetOverflow => {
            (Kind::Ack, Bits::CHECK_REQ | Bits::CHECK_REQ_NULL | null | Bits::SEND_RESET)
        }
        VerdictId::LaterAcceptedByApp => (Kind::Accept, 0),
        _ => return None,
    })
}

fn event(
    t: Nanos,
    i: usize,
    (kind, path): (Kind, u32),
    queue: Queue,
    abort: u8,
    data: bool,
) -> RawEvent {
    let after = u32::from(path & Bits::SYN_RECV_SOCK_CHILD != 0);
    let mut event = RawEvent {
        t_ns: u64::try_from(BEGIN + t).unwrap(),
        netns: 7,
        ino: 99,
        path,
        before: queue,
        after: Queue { ack_backlog: queue.ack_backlog + after, ..queue },
        client_port: u16::try_from(20_000 + i).unwrap(),
        server_port: 80,
        seq: u32::try_from(i).unwrap() * 1_000_000 + u32::from(kind == Kind::Ack),
        payload_len: if data && path & Bits::SYN_RECV_SOCK_NULL != 0 { 100 } else { 0 },
        tcp_flags: if kind == Kind::Syn { 0x02 } else { 0x10 },
        valid: valid::ACCEPT_QUEUE
            | valid::AFTER
            | valid::SEGMENT
            | valid::ABORT_ON_OVERFLOW
            | valid::SYNCOOKIES,
        kind: kind as u8,
        rung: Rung::Fentry as u8,
        family: 4,
        syncookies: 1,
        abort_on_overflow: abort,
        ..RawEvent::EMPTY
    };
    event.client[..4].copy_from_slice(&[10, 7, 0, 2]);
    event.server[..4].copy_from_slice(&[10, 7, 0, 1]);
    event
}

fn setting((backlog, abort): (u32, u8)) -> Setting {
    Setting {
        backlog: Some(backlog),
        abort: Some(abort),
        somaxconn: Some(65_535),
        ..Setting::default()
    }
}

/// What is predicted at `asked` from a recording at `at`, and what happens there.
fn predicted(world: &World, at: (u32, u8), asked: (u32, u8), traced: bool) -> (Tally, Tally) {
    let recorded = world.recorded(at, traced);
    let mut player = Player::default();
    let place = &recorded.places[0];
    let predicted = player.play(&recorded, place, &world.around(), &setting(asked), Belief::AtPace);
    (predicted, Tally::recorded(&world.recorded(asked, true).places[0].members))
}

/// The largest difference of a number of clients.
fn off(a: &Tally, b: &Tally) -> u64 {
    let figures = [Tally::delayed, |t: &Tally| t.reset, |t: &Tally| t.not_in];
    figures.map(|figure| figure(a).abs_diff(figure(b))).into_iter().max().unwrap()
}

fn burst(clients: i64) -> Vec<Nanos> {
    (0..clients).map(|i| i * APART).collect()
}

#[test]
fn a_burst_that_was_refused_fits_into_a_queue_that_is_long_enough() {
    let world = World { connects: burst(100), data: true, late: 0, work: vec![10 * MS] };
    let recorded = world.recorded((8, 0), true);
    assert!(Tally::recorded(&recorded.places[0].members).hurt() > 80);
    let (predicted, happened) = predicted(&world, (8, 0), (128, 0), true);
    assert_eq!((predicted.hurt(), happened.hurt(), predicted.clients), (0, 0, 100));
    assert_eq!(predicted.deepest, Some(99));
}

#[test]
fn the_model_repeats_what_was_recorded() {
    for (backlog, abort) in [(1, 0), (8, 0), (8, 1), (64, 0)] {
        let world = World { connects: burst(100), data: true, late: 300 * MS, work: vec![5 * MS] };
        let (predicted, happened) = predicted(&world, (backlog, abort), (backlog, abort), true);
        assert!(off(&predicted, &happened) <= 2, "{backlog}: {predicted:?} {happened:?}");
    }
}

/// Random loads and settings: within 2 % of all clients nearly always.
#[test]
fn predictions_are_near_what_happens() {
    let mut rng = fastrand::Rng::with_seed(14);
    let (mut near, mut all) = (0, 0);
    for number in 0..300 {
        let mut connects: Vec<Nanos> = Vec::new();
        if rng.bool() {
            let every = rng.i64(2..40) * MS;
            connects.extend((0..rng.i64(20..120)).map(|i| i * every));
        }
        for _ in 0..rng.u8(u8::from(connects.is_empty())..3) {
            let at = rng.i64(0..2_000) * MS;
            connects.extend(burst(rng.i64(2..150)).iter().map(|t| at + t));
        }
        connects.sort_unstable();
        let work = match rng.u8(0..3) {
            0 => vec![rng.i64(0..30) * MS],
            1 => (0..8).map(|_| rng.i64(0..30) * MS).collect(),
            _ => [vec![MS; rng.usize(5..20)], vec![rng.i64(200..1_000) * MS]].concat(),
        };
        let late = if rng.bool() { rng.i64(0..2_000) * MS } else { 0 };
        let world = World { connects, data: rng.bool(), late, work };
        let (at, asked) = ((1 << rng.u8(0..9), 0), (1 << rng.u8(0..9), rng.u8(0..2)));
        let (predicted, happened) = predicted(&world, at, asked, true);
        assert_eq!(predicted.clients, happened.clients, "{number}");
        all += 1;
        near += u64::from(off(&predicted, &happened) * 50 <= happened.clients.max(50));
    }
    assert!(near * 100 >= all * 95, "{near} of {all}");
}

#[test]
fn advice_is_the_smallest_backlog_that_hurts_nobody() {
    let world = World { connects: burst(100), data: true, late: 0, work: vec![10 * MS] };
    let recorded = world.recorded((8, 0), true);
    let (place, around) = (&recorded.places[0], world.around());
    let mut player = Player::default();
    let advice = advise(&mut player, &recorded, place, &around, &Setting::default());
    let (backlog, bounds) = advice.backlog.unwrap();
    assert_eq!(bounds.at_pace.hurt(), 0);
    assert!(bounds.hurts_nobody_at_pace());
    let one_less = player.bounds(&recorded, place, &around, &setting((backlog - 1, 0)));
    assert!(!one_less.hurts_nobody_at_pace(), "{one_less:?}");
    assert!(advice.certain.unwrap() >= backlog);
    // 10 ms for each.
    assert!((90.0..=101.0).contains(&advice.seen_rate.unwrap()), "{:?}", advice.seen_rate);
}

#[test]
fn an_application_that_never_accepts_needs_room_for_all() {
    let world = World { connects: burst(20), data: true, late: UNTIL + MS, work: vec![0] };
    let recorded = world.recorded((4, 0), true);
    let mut player = Player::default();
    let place = &recorded.places[0];
    let bounds = player.bounds(&recorded, place, &world.around(), &setting((8, 0)));
    assert_eq!(bounds.range(Tally::hurt), (11, 11));
    let bounds = player.bounds(&recorded, place, &world.around(), &setting((19, 0)));
    assert_eq!(bounds.range(Tally::hurt), (0, 0));
}

#[test]
fn more_members_share_the_clients() {
    let world = World { connects: burst(100), data: true, late: 0, work: vec![10 * MS] };
    let recorded = world.recorded((16, 0), true);
    let place = &recorded.places[0];
    let mut player = Player::default();
    let mut with = |members| {
        let setting = Setting { members: Some(members), ..Setting::default() };
        player.play(&recorded, place, &world.around(), &setting, Belief::AtPace)
    };
    let (one, four, many) = (with(1), with(4), with(32));
    assert_eq!([one, four, many].map(|tally| tally.clients), [100; 3]);
    assert!(one.hurt() > four.hurt() && four.hurt() > many.hurt());
    assert_eq!(many.hurt(), 0);
}

#[test]
fn who_gives_up_is_not_delayed() {
    let world = World { connects: burst(100), data: true, late: 0, work: vec![10 * MS] };
    let recorded = world.recorded((8, 0), true);
    let place = &recorded.places[0];
    let mut around = world.around();
    around.clients.timeout = Some(500 * MS);
    let mut player = Player::default();
    let tally = player.play(&recorded, place, &around, &Setting::default(), Belief::AtPace);
    assert!(tally.gave_up > 80 && tally.delayed[1..] == [0; 3], "{tally:?}");
}

#[test]
fn without_accept_bounds_hold_what_happens() {
    let world = World { connects: burst(60), data: true, late: 200 * MS, work: vec![20 * MS] };
    let recorded = world.recorded((16, 0), false);
    let mut player = Player::default();
    for backlog in [4, 32, 64] {
        let bounds =
            player.bounds(&recorded, &recorded.places[0], &world.around(), &setting((backlog, 0)));
        let happened = Tally::recorded(&world.recorded((backlog, 0), true).places[0].members);
        let (least, most) = bounds.range(Tally::hurt);
        assert!((least..=most).contains(&happened.hurt()), "{backlog}: {bounds:?} {happened:?}");
    }
}

#[test]
fn what_a_recording_lacks_is_said() {
    let header = Header::default();
    let empty = Collector::new(&header, |_, _| true).finish();
    assert_eq!(empty, Err(Unanswerable::Empty));
    let queue = Queue { ack_backlog: 2, max_ack_backlog: 1, qlen: 0, young: 0 };
    let mut overflows = Collector::new(&header, |_, _| true);
    let syn = (Kind::Syn, Bits::CONN_REQUEST);
    overflows.frame(Frame::Event(event(0, 1, syn, queue, 0, false)));
    let error = overflows.finish().unwrap_err();
    assert_eq!(error, Unanswerable::OnlyOverflows);
    assert!(error.to_string().contains("overflow trace --all --record"), "{error}");
}
