//! Packed histories against plain ones: the same judgements, whatever happens in whatever order.

use std::collections::{HashMap, VecDeque};

use fastrand::Rng;
use overflow_common::{RawEvent, valid};

use super::*;
use crate::{
    decode::Decoder,
    kernel::{Facts, Symbols},
    verdict::VerdictId,
};

const SECOND: u64 = 1_000_000_000;

const FEW: Bounds = Bounds { connections: 9, blocks: 1000, events: 4, templates: 100, servers: 9 };

fn dropped_syn(client_port: u16, t_ns: u64) -> Event {
    let raw = RawEvent {
        t_ns,
        client_port,
        kind: 1,
        rung: 1,
        family: 4,
        path: Path::CONN_REQUEST,
        ..RawEvent::EMPTY
    };
    Decoder::default().decode(&raw).unwrap()
}

/// Adds an event and marks it as shown: the stages, whether it was the first shown, and the
/// connections that were forgotten for it.
fn add(table: &mut ConnTable, event: &Event) -> (Vec<Stage>, bool, Vec<Connection>) {
    let mut stages = Vec::new();
    let mut finished = Vec::new();
    let mut take = |connection: &mut Connection, at: At| {
        finished.extend(at.shown.then(|| connection.clone()));
        Ok(())
    };
    let id = table.add(event, None, &mut stages, Some(&mut take)).unwrap();
    let first = table.mark_shown(id);
    (stages, first, finished)
}

fn expire(table: &mut ConnTable, now_ns: u64) -> Vec<Connection> {
    let mut finished = Vec::new();
    let mut take = |connection: &mut Connection, at: At| {
        finished.extend(at.shown.then(|| connection.clone()));
        Ok(())
    };
    table.expire(now_ns, None, Some(&mut take)).unwrap();
    finished
}

fn finish(table: &mut ConnTable) -> Vec<Connection> {
    let mut finished = Vec::new();
    let mut take = |connection: &mut Connection, at: At| {
        finished.extend(at.shown.then(|| connection.clone()));
        Ok(())
    };
    table.finish(None, Some(&mut take)).unwrap();
    finished
}

fn ports(connections: &[Connection]) -> Vec<u16> {
    connections.iter().map(|c| c.client.port()).collect()
}

#[test]
fn whose_client_was_hurt_is_handed_over_shown_or_not() {
    for wants_shown in [false, true] {
        let mut table = ConnTable::new(FEW).handing_over_shown(wants_shown);
        let mut handed = Vec::new();
        let mut take = |connection: &mut Connection, at: At| {
            handed.push((connection.client.port(), at.shown, at.over));
            Ok(())
        };
        let mut stages = Vec::new();
        let healthy = |port| Event { path: Path(Path::REQSK_HASHED), ..dropped_syn(port, SECOND) };
        for event in [dropped_syn(1, SECOND), healthy(2), healthy(3)] {
            let id = table.add(&event, None, &mut stages, Some(&mut take)).unwrap();
            if event.conn.client.port() == 3 {
                table.mark_shown(id);
            }
        }
        table.expire(200 * SECOND, None, Some(&mut take)).unwrap();
        table.add(&dropped_syn(4, 300 * SECOND), None, &mut stages, Some(&mut take)).unwrap();
        table.finish(None, Some(&mut take)).unwrap();
        let shown = if wants_shown { &[(3, true, true)][..] } else { &[] };
        assert_eq!(handed, [&[(1, false, true)], shown, &[(4, false, false)]].concat());
    }
}

#[test]
fn the_quietest_is_forgotten_and_counted() {
    let mut table = ConnTable::new(Bounds { connections: 2, ..FEW });
    let mut forgotten = Vec::new();
    for port in [1, 2, 3] {
        let event = dropped_syn(port, u64::from(port));
        let (stages, first, finished) = add(&mut table, &event);
        assert_eq!((stages[0].id, first), (VerdictId::SynDropOther, true));
        forgotten.extend(finished);
    }
    assert!(!add(&mut table, &dropped_syn(3, 4)).1);
    assert_eq!(ports(&forgotten), [1]);
    assert_eq!(table.losses()[0].1, 1);
    assert_eq!(ports(&finish(&mut table)), [2, 3]);
    assert!(finish(&mut table).is_empty());
}

#[test]
fn silence_ends_a_connection_but_a_word_keeps_it() {
    let mut table = ConnTable::new(FEW);
    for (port, t_ns) in [(1, 0), (2, 0), (1, IDLE_NS / 2)] {
        assert!(add(&mut table, &dropped_syn(port, t_ns)).2.is_empty());
    }
    assert!(expire(&mut table, IDLE_NS - 1).is_empty());
    assert_eq!(ports(&expire(&mut table, IDLE_NS)), [2]);
    let ended = expire(&mut table, IDLE_NS * 2);
    assert_eq!(ended[0].stages[0].repeats_ns, [IDLE_NS / 2]);
}

#[test]
fn events_are_bounded_too() {
    let mut table = ConnTable::new(Bounds { events: 3, ..FEW });
    let mut last = None;
    for t_ns in 0..10 {
        last = Some(add(&mut table, &dropped_syn(1, t_ns)).0);
    }
    assert_eq!(last.unwrap()[0].repeats_ns, [1, 9]);
    assert_eq!(table.losses()[1].1, 7);
}

#[test]
fn without_room_for_its_template_an_event_is_judged_but_not_kept() {
    let mut table = ConnTable::new(Bounds { templates: 1, ..FEW });
    add(&mut table, &dropped_syn(1, 5));
    let other = Event { path: Path(Path::CONN_REQUEST | Path::COOKIE_INIT), ..dropped_syn(1, 6) };
    assert_eq!(add(&mut table, &other).0.len(), 2);
    assert_eq!(add(&mut table, &dropped_syn(1, 7)).0[0].repeats_ns, [7]);
    assert_eq!(table.losses()[2].1, 1);
}

/// A million half-open connections finished IPv4, as a flood leaves them, all fit.
#[test]
fn two_events_of_a_half_open_connection_take_one_block() {
    let limit = 4_194_304;
    let bounds = Bounds { connections: 1000, blocks: 1000 + RESERVE, ..Bounds::LIVE };
    let mut table = ConnTable::new(bounds);
    let mut raw = RawEvent { rung: 1, family: 4, netns: 4_026_531_840, ..RawEvent::EMPTY };
    raw.valid = valid::ACCEPT_QUEUE
        | valid::SYN_QUEUE
        | valid::YOUNG
        | valid::SEGMENT
        | valid::AFTER
        | valid::SYNCOOKIES;
    let mut decoder = Decoder::default();
    for (round, kind) in [(0, 1), (1, 2)] {
        for port in 0..1000_u16 {
            raw.client_port = port;
            raw.kind = kind;
            // An hour after the first.
            raw.t_ns = 3600 * SECOND * u64::from(port > 0) + 2 * SECOND * u64::from(round);
            raw.seq = u32::from(port).wrapping_mul(2_654_435_761).wrapping_add(round);
            (raw.tcp_flags, raw.path) = if kind == 1 {
                (2, Path::CONN_REQUEST | Path::REQSK_HASHED)
            } else {
                (16, Path::CHECK_REQ | Path::SYN_RECV_SOCK_NULL | Path::CHECK_REQ_NULL)
            };
            raw.before.ack_backlog = if kind == 1 { 0 } else { limit + 1 };
            raw.before.max_ack_backlog = limit;
            raw.before.qlen = 1_000_000 + u32::from(port);
            raw.before.young = raw.before.qlen - 1000;
            raw.after = raw.before;
            let (_, first, finished) = add(&mut table, &decoder.decode(&raw).unwrap());
            assert_eq!((first, finished.len()), (kind == 1, 0));
        }
    }
    assert_eq!(table.losses().map(|(_, count)| count), [0, 0, 0]);
    assert_eq!(finish(&mut table).len(), 1000);
}

/// A port is used again: the next connection is not the last one's continuation, a SYN sent again is.
#[test]
fn the_next_connection_from_a_port_is_another() {
    let mut decoder = Decoder::default();
    let mut table = ConnTable::new(FEW);
    let refused = Path::CHECK_REQ | Path::SYN_RECV_SOCK_NULL | Path::CHECK_REQ_NULL;
    let syn = (Kind::Syn, 0x02, Path::CONN_REQUEST);
    let ack = (Kind::Ack, 0x10, refused);
    let mut at = |table: &mut ConnTable, seconds, (kind, tcp_flags, path), seq| {
        let raw = RawEvent {
            t_ns: seconds * SECOND,
            kind: kind as u8,
            rung: 1,
            family: 4,
            tcp_flags,
            path,
            seq,
            valid: u16::MAX,
            ..RawEvent::EMPTY
        };
        let (stages, first, finished) = add(table, &decoder.decode(&raw).unwrap());
        (stages.iter().map(|s| 1 + s.repeats_ns.len()).sum::<usize>(), first, finished.len())
    };
    assert_eq!(at(&mut table, 1, syn, 7), (1, true, 0));
    assert_eq!(at(&mut table, 2, syn, 7), (2, false, 0));
    assert_eq!(at(&mut table, 4, syn, 8), (1, true, 1));
    assert_eq!(at(&mut table, 5, syn, 8), (2, false, 0));
    // Its third ACK, and data that lies in the window.
    assert_eq!(at(&mut table, 6, ack, 9), (3, false, 0));
    assert_eq!(at(&mut table, 7, ack, 1409), (4, false, 0));
    // Of this one nobody saw the SYN.
    assert_eq!(at(&mut table, 8, ack, 1 << 20), (1, true, 1));
    assert_eq!(at(&mut table, 9, ack, 1 << 20), (2, false, 0));
    assert_eq!(table.losses().map(|(_, count)| count), [0, 0, 0]);
    assert_eq!(finish(&mut table).len(), 1);
}

/// The same without packing: what the packed ones are held against.
struct Plain {
    by_key: HashMap<ConnKey, PlainHistory>,
    queue: VecDeque<(u64, ConnKey)>,
    bounds: Bounds,
    forgotten: u64,
    merged: u64,
}

#[derive(Default)]
struct PlainHistory {
    events: Vec<Event>,
    last_ns: u64,
    shown: bool,
}

impl Plain {
    fn add(&mut self, event: &Event) -> (Connection, Vec<Connection>) {
        let key = event.conn;
        let mut finished = Vec::new();
        if !self.by_key.contains_key(&key) {
            while self.by_key.len() >= self.bounds.connections {
                self.forgotten += 1;
                finished.extend(self.pop());
            }
            self.queue.push_back((event.t_ns, key));
        }
        let history = self
            .by_key
            .entry(key)
            .or_insert_with(|| PlainHistory { last_ns: event.t_ns, ..PlainHistory::default() });
        if begins_anew(&history.events, event) {
            finished.extend(history.shown.then(|| verdict::judge(key, &history.events, None)));
            *history = PlainHistory { last_ns: event.t_ns, ..PlainHistory::default() };
        }
        history.last_ns = history.last_ns.max(event.t_ns);
        if history.events.len() >= self.bounds.events {
            history.events.pop();
            self.merged += 1;
        }
        let at = history.events.partition_point(|m| m.t_ns <= event.t_ns);
        history.events.insert(at, event.clone());
        (verdict::judge(key, &history.events, None), finished)
    }

    fn expire(&mut self, now_ns: u64) -> Vec<Connection> {
        let mut finished = Vec::new();
        while let Some(&(queued_ns, key)) = self.queue.front() {
            if queued_ns.saturating_add(IDLE_NS) > now_ns {
                break;
            }
            let last_ns = self.by_key[&key].last_ns;
            if last_ns > queued_ns {
                self.queue.pop_front();
                self.queue.push_back((last_ns, key));
            } else {
                finished.extend(self.pop());
            }
        }
        finished
    }

    fn finish(&mut self) -> Vec<Connection> {
        let mut left: Vec<(ConnKey, PlainHistory)> = self.by_key.drain().collect();
        self.queue.clear();
        left.sort_by_key(|(key, history)| (history.events.first().map(|m| m.t_ns), *key));
        let shown = left.into_iter().filter(|(_, history)| history.shown);
        shown.map(|(key, history)| verdict::judge(key, &history.events, None)).collect()
    }

    fn pop(&mut self) -> Option<Connection> {
        let (_, key) = self.queue.pop_front()?;
        let history = self.by_key.remove(&key)?;
        history.shown.then(|| verdict::judge(key, &history.events, None))
    }
}

/// Any record at all, mostly of the kinds that make a history.
fn any(rng: &mut Rng, t_ns: u64, clients: u16) -> RawEvent {
    let queue = |rng: &mut Rng| {
        let limit = [0, 1, 128, u32::MAX][rng.usize(..4)];
        let around = limit.wrapping_add(rng.u32(..3)).wrapping_sub(1);
        overflow_common::Queue {
            ack_backlog: if rng.bool() { around } else { rng.u32(..) >> rng.u32(..32) },
            max_ack_backlog: limit,
            qlen: rng.u32(..) >> rng.u32(..32),
            young: rng.u32(..) >> rng.u32(..32),
        }
    };
    let before = queue(rng);
    let after = if rng.bool() { before } else { queue(rng) };
    let paths = [
        Path::CONN_REQUEST | Path::REQSK_HASHED,
        Path::CONN_REQUEST | Path::COOKIE_INIT,
        Path::CONN_REQUEST,
        Path::CHECK_REQ | Path::SYN_RECV_SOCK_NULL | Path::CHECK_REQ_NULL,
        Path::CHECK_REQ | Path::SYN_RECV_SOCK_CHILD | Path::QUEUE_ADD | Path::CHECK_REQ_CHILD,
        Path::COOKIE_CHECK | Path::SYN_RECV_SOCK_NULL | Path::COOKIE_CHECK_NULL,
        Path::REQSK_DROP,
        Path::TP_SYNACK_REQUEST,
        Path::TP_KFREE_SKB,
        Path::TP_KFREE_SKB | Path::TP_SEND_RESET,
        Path::TP_ESTABLISHED,
        rng.u32(..),
    ];
    let mut raw = RawEvent {
        t_ns,
        sk: rng.u64(..3),
        req: rng.u64(..),
        location: 0,
        netns: rng.u32(1..3),
        path: paths[rng.usize(..paths.len())],
        drop_reason: rng.u32(..3),
        reset_reason: rng.u32(..3),
        seq: [1, 2, 3, rng.u32(..)][rng.usize(..4)],
        ack_seq: rng.u32(..),
        payload_len: rng.u32(..3) * 700,
        before,
        after,
        client_port: rng.u16(..clients),
        server_port: rng.u16(80..82),
        valid: if rng.bool() { u16::MAX } else { rng.u16(..) },
        kind: rng.u8(1..=10),
        rung: rng.u8(1..=3),
        family: [4, 6][rng.usize(..2)],
        tcp_flags: [0x02, 0x10, 0x10, 0x04, 0x18][rng.usize(..5)],
        abort_on_overflow: rng.u8(..2),
        syncookies: rng.u8(..3),
        num_timeout: rng.u8(..3),
        defer_accept: rng.u8(..3),
        sk_state: [0, 1, 7, 10][rng.usize(..4)],
        ..RawEvent::EMPTY
    };
    raw.client[..2].copy_from_slice(&[rng.u8(..2), 1]);
    raw.client[13] = rng.u8(..2);
    raw
}

#[test]
fn packed_histories_are_judged_as_plain_ones() {
    let facts = Facts {
        drop_reasons: vec![(1, "TCP_LISTEN_OVERFLOW".into()), (2, "NO_SOCKET".into())],
        reset_reasons: vec![(1, "TCP_ABORT_ON_DATA".into())],
        ..Facts::default()
    };
    let mut decoder = Decoder::new(&facts, Symbols::default());
    let mut rng = Rng::with_seed(20_26);
    for round in 0..60_u16 {
        let connections = [3, 40, 100_000][usize::from(round % 3)];
        let events = 2 + usize::from(round);
        let bounds =
            Bounds { connections, blocks: 1 << 16, events, templates: 1 << 15, servers: 9 };
        let mut packed = ConnTable::new(bounds);
        let mut plain = Plain {
            by_key: HashMap::new(),
            queue: VecDeque::new(),
            bounds,
            forgotten: 0,
            merged: 0,
        };
        let clients = 1 + round % 7 * 5;
        let mut now = SECOND * u64::from(round);
        for _ in 0..600 {
            now += rng.u64(..SECOND) >> rng.u32(..20) << if rng.u8(..50) == 0 { 8 } else { 0 };
            let late = if rng.u8(..4) == 0 { rng.u64(..2 * SECOND) } else { 0 };
            let raw = any(&mut rng, now.saturating_sub(late), clients);
            let event = decoder.decode(&raw).unwrap();
            let (expected, forgotten) = plain.add(&event);
            let mut finished = Vec::new();
            let mut take = |connection: &mut Connection, at: At| {
                finished.extend(at.shown.then(|| connection.clone()));
                Ok(())
            };
            let mut stages = Vec::new();
            let id = packed.add(&event, None, &mut stages, Some(&mut take)).unwrap();
            if stages.is_empty() {
                // It can have brought about none.
                let of_now = |s: &Stage| s.t_ns == event.t_ns || s.repeats_ns.contains(&event.t_ns);
                assert!(!expected.stages.iter().any(of_now));
            } else {
                assert_eq!(stages, expected.stages);
            }
            assert_eq!(finished, forgotten);
            if rng.bool() {
                let shown = &mut plain.by_key.get_mut(&event.conn).unwrap().shown;
                assert_eq!(packed.mark_shown(id), !mem::replace(shown, true));
            }
            assert!(packed.knows(&event.conn));
            if rng.u8(..8) == 0 {
                assert_eq!(expire(&mut packed, now), plain.expire(now));
            }
        }
        let losses = packed.losses().map(|(_, count)| count);
        assert_eq!(losses, [plain.forgotten, plain.merged, 0]);
        assert_eq!(finish(&mut packed), plain.finish());
    }
}

/// When anything runs out, the quietest connections go, whoever needs the room.
#[test]
fn memory_is_bounded_whatever_comes() {
    let [forgotten, _, no_template] =
        flood(Bounds { connections: 1 << 20, blocks: 60, templates: 20, ..FEW });
    assert!(forgotten > 0 && no_template > 0, "{forgotten} {no_template}");
    let [forgotten, ..] = flood(Bounds { connections: 1 << 20, servers: 3, ..FEW });
    assert!(forgotten > 0);
}

/// Records of all kinds from 20 clients to 8 servers: what was lost.
fn flood(bounds: Bounds) -> [u64; 3] {
    let mut decoder = Decoder::default();
    let mut rng = Rng::with_seed(7);
    let mut table = ConnTable::new(Bounds { events: 48, ..bounds });
    for i in 0..10_000 {
        let clients = rng.u16(1..20);
        let raw = any(&mut rng, i * SECOND / 10, clients);
        add(&mut table, &decoder.decode(&raw).unwrap());
        if i % 100 == 0 {
            expire(&mut table, i * SECOND / 10);
        }
    }
    assert!(!finish(&mut table).is_empty());
    table.losses().map(|(_, count)| count)
}

#[test]
fn the_listener_is_the_last_that_an_event_knew() {
    let mut table = ConnTable::new(Bounds { events: 9, ..FEW });
    let of = |ino, kind, t_ns| Event { kind, ino, ..dropped_syn(1, t_ns) };
    let key = of(None, Kind::Syn, 0).conn;
    assert_eq!(table.listener(&key), None);
    add(&mut table, &of(None, Kind::Syn, 1));
    assert_eq!(table.listener(&key), None);
    // Its request can move to another listener of the group.
    for (ino, kind, t_ns, known) in [
        (Some(70), Kind::Ack, 2, 70),
        (None, Kind::SynAckRetransmit, 3, 70),
        (Some(71), Kind::Ack, 4, 71),
        (None, Kind::RequestRemoved, 5, 71),
    ] {
        add(&mut table, &of(ino, kind, t_ns));
        assert_eq!(table.listener(&key), Some(known), "{t_ns}");
    }
    let mut found = Vec::new();
    let mut take = |_: &mut Connection, at: At| {
        found.push((at.netns, at.ino));
        Ok(())
    };
    table.finish(None, Some(&mut take)).unwrap();
    assert_eq!(found, [(key.netns, Some(71))]);
}
