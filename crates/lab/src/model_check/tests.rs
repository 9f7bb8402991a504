//! Traces written by hand from what kernels did, against the model.

use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::{ClientView, ListenerQueue, Timeline};
use overflow_core::{
    packet::{
        Packet,
        flags::{ACK, PSH, SYN},
    },
    verdict::{Known, Values},
    wire::LinkKind,
};

const BURST: u64 = 1_000_000_000;
const COOKIE: &[VerdictId] = &[VerdictId::SynCookie, VerdictId::AckDropOverflowCookie];
const OK: &[VerdictId] = &[VerdictId::SynQueued, VerdictId::AckAccepted];
const OK_COOKIE: &[VerdictId] = &[VerdictId::SynCookie, VerdictId::AckAcceptedCookie];

fn client(i: u16) -> SocketAddr {
    ([10, 7, 0, 2], 30001 + i).into()
}

fn server() -> SocketAddr {
    ([10, 7, 0, 1], 12345).into()
}

fn packet(i: u16, ms: u64, flags: u8, payload_len: u32) -> Packet {
    Packet {
        t_ns: BURST + ms * 1_000_000 + u64::from(i) * 1000,
        src: client(i),
        dst: server(),
        flags,
        seq: if flags == SYN { 100 } else { 101 },
        ack: if flags == SYN { 0 } else { 501 },
        payload_len,
        raw: Vec::new(),
    }
}

/// Five SYNs at once, their third ACKs 200 ms later, watched for 700 ms.
fn observation() -> Observation {
    let view = |i| ClientView {
        local: client(i),
        phase: Phase::Burst,
        connect: Ok(200_000_000),
        state: "ESTABLISHED".to_owned(),
        error: None,
    };
    let syns = (0..5).map(|i| packet(i, 0, SYN, 0));
    let synacks = (0..5).map(|i| Packet {
        src: server(),
        dst: client(i),
        seq: 500,
        ack: 101,
        ..packet(i, 1, SYN | ACK, 0)
    });
    let acks = (0..5).map(|i| packet(i, 200, ACK, 0));
    Observation {
        server: server(),
        clients: (0..5).map(view).collect(),
        server_sockets: Vec::new(),
        queue: (ListenerQueue::default(), ListenerQueue { recv_q: 2, send_q: 1 }),
        counters: BTreeMap::new(),
        packets: syns.chain(synacks).chain(acks).collect(),
        capture_drops: 0,
        link_drops: 0,
        link: LinkKind::Userspace,
        notes: Vec::new(),
        global_sysctls: false,
        concurrent: true,
        attempts: 1,
        timeline: Timeline {
            burst: BURST,
            hold_end: BURST + 700_000_000,
            close: BURST + 700_000_000,
        },
    }
}

fn stage(id: VerdictId, ms: u64) -> Stage {
    Stage {
        id,
        t_ns: BURST + ms * 1_000_000,
        known: Known::Traced,
        path: &[],
        values: Values::default(),
        repeats_ns: Vec::new(),
    }
}

fn traced(lives: [&[VerdictId]; 5]) -> Vec<Connection> {
    let connection = |(i, ids): (u16, &[VerdictId])| Connection {
        client: client(i),
        server: server(),
        stages: ids.iter().zip([0, 200, 210]).map(|(id, ms)| stage(*id, ms)).collect(),
        ..Connection::default()
    };
    (0..5).zip(lives).map(connection).collect()
}

fn checked(features: Features, observation: &Observation, lives: [&[VerdictId]; 5]) -> Checked {
    let config = CellConfig {
        abort_on_overflow: 1,
        syncookies: 1,
        delay: Duration::from_millis(200),
        ..CellConfig::SEED
    };
    let traced = traced(lives);
    let traced: Vec<&Connection> = traced.iter().collect();
    check(features, &config, observation, &traced, &[]).unwrap()
}

#[test]
fn the_seed_on_a_kernel_of_regime_c() {
    let lives = [OK, OK, COOKIE, COOKIE, COOKIE];
    let same = checked(Features::V6_5.above_backlog(), &observation(), lives);
    assert_eq!((same.connections, same.differences.len()), (5, 0));
    let other = checked(Features::V6_5, &observation(), lives);
    assert_eq!(other.differences.len(), 1);
    let first = &other.differences[0];
    assert_eq!((first.client, &*first.predicted), (client(1), OK_COOKIE));
    let condition = first.decision.unwrap().condition.to_string();
    assert_eq!(condition, "reqsk_queue_len 1 >= sk_max_ack_backlog 1");
    assert_eq!(first.stage.as_ref().unwrap().id, VerdictId::SynQueued);
    assert_eq!(checked(Features::EL7, &observation(), lives).differences.len(), 3);
}

#[test]
fn the_captured_order_decides_who_gets_the_last_place() {
    let mut seen = observation();
    // The fifth client's third ACK comes before all others.
    let last = seen.packets.pop().unwrap();
    let at = seen.packets.iter().position(|p| p.flags == ACK).unwrap();
    seen.packets.insert(at, Packet { t_ns: BURST + 190_000_000, ..last });
    let lives = [OK, COOKIE, COOKIE, COOKIE, OK_COOKIE];
    assert_eq!(checked(Features::V6_5, &seen, lives).differences, []);
    assert_eq!(checked(Features::V6_5, &observation(), lives).differences.len(), 2);
}

#[test]
fn data_after_the_reset_meets_no_socket() {
    let mut seen = observation();
    let data = packet(1, 210, ACK | PSH, 5);
    seen.packets.push(data);
    seen.clients[0].phase = Phase::Prefill;
    let reset: &[VerdictId] =
        &[VerdictId::SynQueued, VerdictId::AckResetOverflow, VerdictId::LaterResetNoSocket];
    // Backlog 0 has one place; the second request is refused one.
    let config = CellConfig { abort_on_overflow: 1, backlog: 0, ..CellConfig::SEED };
    let mut all = traced([OK, reset, &[], &[], &[]]);
    all[0].stages[1].t_ns -= 190_000_000;
    let known = [client(0), client(1)];
    seen.packets.retain(|p| known.contains(&p.src) || known.contains(&p.dst));
    seen.clients.truncate(2);
    let config = CellConfig { clients: 1, prefill: 1, ..config };
    let refs: Vec<&Connection> = all.iter().take(2).collect();
    let found = check(Features::EL7, &config, &seen, &refs, &[]).unwrap();
    assert_eq!(found.differences, []);
}

#[test]
fn what_the_tracer_cannot_see_is_not_compared_and_losses_are_reported() {
    let lives = [OK, OK, COOKIE, COOKIE, &[VerdictId::SynCookie]];
    let config = CellConfig { abort_on_overflow: 1, syncookies: 1, ..CellConfig::SEED };
    let all = traced(lives);
    let refs: Vec<&Connection> = all.iter().collect();
    let features = Features::V6_5.above_backlog();
    let found = |blind_to: &[VerdictId]| {
        check(features, &config, &observation(), &refs, blind_to).unwrap().differences.len()
    };
    assert_eq!((found(&[]), found(&VerdictId::under("ack").collect::<Vec<_>>())), (1, 0));
    let lossy = Observation { capture_drops: 3, ..observation() };
    assert_eq!(check(features, &config, &lossy, &refs, &[]), Err(NotChecked::Capture(3)));
    let large = CellConfig { payload: 9000, ..config };
    assert_eq!(check(features, &large, &observation(), &refs, &[]), Err(NotChecked::Payload(9000)));
}

#[test]
fn a_stage_at_the_very_end_may_be_on_either_side_of_it() {
    let mut seen = observation();
    seen.timeline.hold_end = BURST + 220_000_000;
    let lives = [OK, OK, COOKIE, COOKIE, &[VerdictId::SynCookie][..]];
    assert_eq!(checked(Features::V6_5.above_backlog(), &seen, lives).differences, []);
}

#[test]
fn the_syn_queue_test_is_read_off_a_stage_at_the_limit() {
    let at_limit = |id, syncookies| {
        let mut stage = stage(id, 0);
        stage.values.syn_queue_len = Some(4);
        stage.values.sk_max_ack_backlog = Some(4);
        stage.values.syncookies = Some(syncookies);
        stage
    };
    let c = Features::V5_4.above_backlog();
    assert_eq!(as_observed(Features::V5_4, &[at_limit(VerdictId::SynQueued, 1)]), c);
    assert_eq!(as_observed(c, &[at_limit(VerdictId::SynCookie, 1)]), Features::V5_4);
    assert_eq!(as_observed(c, &[at_limit(VerdictId::SynCookie, 2)]), c);
    assert_eq!(as_observed(Features::EL7, &[at_limit(VerdictId::SynQueued, 1)]), Features::EL7);
}
