//! Every exit of the kernel's functions, as events in and ids out.

mod by_tracepoints;
mod later;
mod strangers;

use overflow_common::{Kind, Path, Rung};

use super::*;
use crate::{
    decode::{QueueView, Segment, Timestamps},
    packet::flags::{ACK, FIN, PSH, RST, SYN},
    verdict::Known,
};

fn event(kind: Kind, path: u32) -> Event {
    Event {
        t_ns: 0,
        kind,
        rung: Rung::Fentry,
        path: Path(path),
        conn: key(),
        sk: 1,
        sk_state: 10,
        req: 2,
        segment: Some(Segment {
            flags: if kind == Kind::Syn { SYN } else { ACK },
            seq: if kind == Kind::Syn { 1 } else { 2 },
            ack_seq: 1,
            payload_len: 0,
        }),
        before: QueueView { accept: Some((1, 1)), qlen: Some(0), young: Some(0) },
        after: None,
        abort_on_overflow: Some(0),
        syncookies: Some(1),
        num_timeout: Some(0),
        defer_accept: Some(0),
        drop_reason: None,
        reset_reason: None,
        ino: None,
        in_window: None,
        timestamps: None,
        freed_in: None,
    }
}

fn key() -> ConnKey {
    ConnKey {
        netns: 1,
        client: "10.7.0.2:30001".parse().unwrap(),
        server: "10.7.0.1:12345".parse().unwrap(),
    }
}

fn full(m: Event) -> Event {
    Event { before: QueueView { accept: Some((2, 1)), ..m.before }, ..m }
}

fn tp(m: Event) -> Event {
    Event { rung: Rung::Tracepoint, ..m }
}

#[track_caller]
fn check(history: Vec<Event>, expect: &str) {
    check_on(history, None, expect);
}

/// `expect`: stage ids, `+n` for repeats, `?` for inferred, then `=> outcome`.
#[track_caller]
fn check_on(mut history: Vec<Event>, limit: Option<SynQueueLimit>, expect: &str) {
    for (i, m) in history.iter_mut().enumerate() {
        m.t_ns = i as u64;
    }
    let connection = judge(key(), &history, limit);
    let mut text: Vec<String> = Vec::new();
    for stage in &connection.stages {
        let mark = if matches!(stage.known, Known::Inferred(_)) { "?" } else { "" };
        let again = match stage.repeats_ns.len() {
            0 => String::new(),
            n => format!("+{n}"),
        };
        text.push(format!("{}{mark}{again}", stage.id));
    }
    let outcome = connection.outcome.map_or("none".to_owned(), |o| o.to_string());
    assert_eq!(format!("{} => {outcome}", text.join(" ")), expect);
}

const QUEUED: u32 = Path::CONN_REQUEST | Path::REQSK_HASHED;
const COOKIE: u32 = Path::CONN_REQUEST | Path::COOKIE_INIT;
const TAKEN: u32 =
    Path::CHECK_REQ | Path::SYN_RECV_SOCK_CHILD | Path::QUEUE_ADD | Path::CHECK_REQ_CHILD;
const REFUSED: u32 = Path::CHECK_REQ | Path::SYN_RECV_SOCK_NULL | Path::CHECK_REQ_NULL;
const COOKIE_REFUSED: u32 = Path::COOKIE_CHECK | Path::SYN_RECV_SOCK_NULL | Path::COOKIE_CHECK_NULL;

fn syn(path: u32) -> Event {
    event(Kind::Syn, path)
}
fn ack(path: u32) -> Event {
    event(Kind::Ack, path)
}

/// A trace of overflows alone: one reading of the queues, and this CPU's counters.
const DROPPED: u32 = Path::CONN_REQUEST | Path::COUNTED | Path::COUNTED_DROP;
const NO_CHILD: u32 = Path::SYN_RECV_SOCK_NULL | Path::COUNTED | Path::COUNTED_DROP;
const OVERFLOWED: u32 = Path::COUNTED_OVERFLOW;

#[test]
fn counters_tell_drops_apart_whatever_the_queue_says() {
    check(
        vec![syn(DROPPED | OVERFLOWED)],
        "syn.drop.accept_queue_full => syn.drop.accept_queue_full",
    );
    check(
        vec![full(syn(DROPPED | Path::COUNTED_QUEUE_FULL))],
        "syn.drop.syn_queue_full => syn.drop.syn_queue_full",
    );
    check(vec![full(syn(DROPPED))], "syn.drop.other => syn.drop.other");
    check(
        vec![full(syn(Path::CONN_REQUEST | Path::UNCOUNTED))],
        "syn.drop.accept_queue_full? => syn.drop.accept_queue_full",
    );
    let request = NO_CHILD | Path::CHECK_REQ;
    check(vec![ack(request | OVERFLOWED)], "ack.drop.overflow => later.pending");
    check(vec![full(ack(request))], "ack.drop.child_failed => later.pending");
    check(
        vec![ack(request | OVERFLOWED | Path::SEND_RESET)],
        "ack.reset.overflow => ack.reset.overflow",
    );
    check(
        vec![full(ack(request | Path::SEND_RESET))],
        "ack.reset.child_failed => ack.reset.child_failed",
    );
    let cookie = NO_CHILD | Path::COOKIE_CHECK;
    check(
        vec![syn(COOKIE), ack(cookie | OVERFLOWED)],
        "syn.cookie ack.drop.overflow.cookie => later.phantom",
    );
    check(
        vec![syn(COOKIE), full(ack(cookie))],
        "syn.cookie ack.drop.child_failed => later.phantom",
    );
}

#[test]
fn an_ack_that_recovers_is_seen_by_its_child() {
    check(
        vec![
            full(ack(NO_CHILD | OVERFLOWED | Path::CHECK_REQ)),
            ack(Path::CHECK_REQ | Path::SYN_RECV_SOCK_CHILD),
        ],
        "ack.drop.overflow later.recovered ack.accepted => later.recovered",
    );
}

#[test]
fn request_path() {
    check(vec![syn(QUEUED), ack(TAKEN)], "syn.queued ack.accepted => ack.accepted");
    check(vec![syn(QUEUED), full(ack(REFUSED))], "syn.queued ack.drop.overflow => later.pending");
    check(
        vec![syn(QUEUED), full(ack(REFUSED | Path::SEND_RESET | Path::REQSK_DROP))],
        "syn.queued ack.reset.overflow => ack.reset.overflow",
    );
    check(vec![syn(QUEUED), ack(REFUSED)], "syn.queued ack.drop.child_failed => later.pending");
    check(
        vec![syn(QUEUED), ack(REFUSED | Path::SEND_RESET)],
        "syn.queued ack.reset.child_failed => ack.reset.child_failed",
    );
}

#[test]
fn cookie_path() {
    check(
        vec![syn(COOKIE), full(ack(COOKIE_REFUSED)), full(ack(COOKIE_REFUSED))],
        "syn.cookie ack.drop.overflow.cookie+1 => later.phantom",
    );
    check(
        vec![syn(COOKIE), ack(Path::COOKIE_CHECK | Path::COOKIE_CHECK_CHILD)],
        "syn.cookie ack.accepted.cookie => ack.accepted.cookie",
    );
    check(
        vec![syn(COOKIE), ack(COOKIE_REFUSED)],
        "syn.cookie ack.drop.child_failed => later.phantom",
    );
    let invalid = Path::COOKIE_CHECK | Path::COOKIE_CHECK_LISTENER | Path::SEND_RESET;
    check(
        vec![syn(COOKIE), ack(invalid)],
        "syn.cookie ack.reset.invalid_cookie => ack.reset.invalid_cookie",
    );
    check(
        vec![syn(COOKIE), full(ack(COOKIE_REFUSED)), ack(invalid)],
        "syn.cookie ack.drop.overflow.cookie later.reset_no_socket => later.reset_no_socket",
    );
}

#[test]
fn a_queue_that_was_full_only_at_the_exit_still_was_full() {
    let raced = Event {
        after: Some(QueueView { accept: Some((2, 1)), ..QueueView::default() }),
        ..ack(REFUSED)
    };
    check(vec![syn(QUEUED), raced], "syn.queued ack.drop.overflow => later.pending");
}

#[test]
fn dropped_syns() {
    let at = |qlen, len, cookies| Event {
        before: QueueView { accept: Some((len, 1)), qlen: Some(qlen), young: None },
        syncookies: Some(cookies),
        ..syn(Path::CONN_REQUEST)
    };
    check(vec![at(2, 0, 0)], "syn.drop.syn_queue_full => syn.drop.syn_queue_full");
    // The SYN queue is tested first, but only without cookies.
    check(vec![at(2, 2, 0)], "syn.drop.syn_queue_full => syn.drop.syn_queue_full");
    check(vec![at(2, 2, 1)], "syn.drop.accept_queue_full => syn.drop.accept_queue_full");
    check(vec![at(0, 2, 0)], "syn.drop.accept_queue_full => syn.drop.accept_queue_full");
    check(vec![at(0, 0, 1)], "syn.drop.other => syn.drop.other");
    // Exactly at the limit it depends on the kernel's >= or >.
    check(vec![at(1, 0, 0)], "syn.drop.syn_queue_full? => syn.drop.syn_queue_full");
    check_on(
        vec![at(1, 0, 0)],
        Some(SynQueueLimit::AtBacklog),
        "syn.drop.syn_queue_full => syn.drop.syn_queue_full",
    );
    check_on(
        vec![at(1, 0, 0)],
        Some(SynQueueLimit::AboveBacklog),
        "syn.drop.other => syn.drop.other",
    );
    check_on(
        vec![at(1, 2, 0)],
        Some(SynQueueLimit::AboveBacklog),
        "syn.drop.accept_queue_full => syn.drop.accept_queue_full",
    );
}

#[test]
fn a_syn_again_is_a_repeat_or_no_stage_at_all() {
    check(
        vec![full(syn(Path::CONN_REQUEST)), full(syn(Path::CONN_REQUEST)), syn(QUEUED)],
        "syn.drop.accept_queue_full+1 syn.queued => later.pending",
    );
    let mut again = ack(Path::CHECK_REQ | Path::CHECK_REQ_NULL);
    again.segment.as_mut().unwrap().flags = SYN;
    check(vec![syn(QUEUED), again, ack(TAKEN)], "syn.queued ack.accepted => ack.accepted");
}

#[test]
fn of_syns_dropped_again_and_again_the_first_drop_is_the_verdict() {
    let syn_queue = Event {
        before: QueueView { accept: Some((0, 1)), qlen: Some(2), young: None },
        syncookies: Some(0),
        ..syn(Path::CONN_REQUEST)
    };
    check(
        vec![syn_queue, full(syn(Path::CONN_REQUEST)), full(syn(Path::CONN_REQUEST))],
        "syn.drop.syn_queue_full syn.drop.accept_queue_full+1 => syn.drop.syn_queue_full",
    );
}

#[test]
fn defer_accept_and_other_drops() {
    let deferred = |flags, payload_len| {
        let mut m = ack(Path::CHECK_REQ | Path::CHECK_REQ_NULL);
        m.defer_accept = Some(2);
        m.segment = Some(Segment { flags, seq: 2, ack_seq: 1, payload_len });
        m
    };
    check(vec![syn(QUEUED), deferred(ACK, 0)], "syn.queued ack.drop.defer_accept => later.pending");
    let lost_race = Path::CHECK_REQ | Path::SYN_RECV_SOCK_CHILD | Path::CHECK_REQ_NULL;
    check(vec![syn(QUEUED), ack(lost_race)], "syn.queued ack.drop.lost_race => ack.drop.lost_race");
    // A FIN takes a sequence number: nothing is deferred.
    check(vec![syn(QUEUED), deferred(ACK | FIN, 0)], "syn.queued ack.drop.other? => later.pending");
}

#[test]
fn a_third_ack_is_judged_by_its_requests_window_and_timestamps() {
    let refused = |in_window, timestamps| {
        let event = ack(Path::CHECK_REQ | Path::CHECK_REQ_NULL);
        vec![syn(QUEUED), Event { in_window, timestamps, ..event }]
    };
    let paws = "syn.queued ack.drop.paws => later.pending";
    let outside = "syn.queued ack.drop.out_of_window => later.pending";
    // Nothing that was read explains it: an SMC listener, say.
    let other = "syn.queued ack.drop.other? => later.pending";
    check(refused(Some(true), Some(Timestamps::Old)), paws);
    check(refused(Some(true), Some(Timestamps::EchoUnsent)), paws);
    // The same exit; the kernel names PAWS first.
    check(refused(Some(false), Some(Timestamps::Old)), paws);
    check(refused(Some(false), Some(Timestamps::Good)), outside);
    check(refused(Some(false), None), outside);
    check(refused(Some(true), Some(Timestamps::Good)), other);
    check(refused(Some(true), None), other);
    check(refused(None, None), other);
    // The window was not read; no window reaches so far.
    let far = |seq, payload_len| {
        let mut event = ack(Path::CHECK_REQ | Path::CHECK_REQ_NULL);
        event.segment = Some(Segment { flags: ACK, seq, ack_seq: 1, payload_len });
        vec![syn(QUEUED), event]
    };
    check(far(2 + 0x1_0000, 0), outside);
    check(far(1, 0), outside);
    check(far(1, 1), outside);
    check(far(1, 2), other);
    check(far(2, 0), other);
}

#[test]
fn segments_refused_for_what_they_carry() {
    let with = |path, flags, seq| {
        let mut m = ack(path);
        m.segment = Some(Segment { flags, seq, ack_seq: 1, payload_len: 0 });
        m
    };
    let null = Path::CHECK_REQ | Path::CHECK_REQ_NULL;
    let listener = Path::CHECK_REQ | Path::CHECK_REQ_LISTENER;
    check(
        vec![
            syn(QUEUED),
            ack(listener | Path::COOKIE_CHECK | Path::COOKIE_CHECK_LISTENER | Path::SEND_RESET),
            ack(TAKEN),
        ],
        "syn.queued ack.reset.bad_ack ack.accepted => ack.accepted",
    );
    // The SYN has sequence number 1.
    check(
        vec![syn(QUEUED), with(null, ACK, 2 + 0x1_0000)],
        "syn.queued ack.drop.out_of_window => later.pending",
    );
    check(
        vec![syn(QUEUED), with(null | Path::SEND_RESET | Path::REQSK_DROP, SYN | ACK, 2)],
        "syn.queued ack.reset.bad_syn => ack.reset.bad_syn",
    );
    check(
        vec![syn(QUEUED), with(null | Path::REQSK_DROP, RST, 2)],
        "syn.queued later.reset_by_client => later.reset_by_client",
    );
    let late = Path::COOKIE_CHECK | Path::COOKIE_CHECK_LISTENER | Path::SEND_RESET;
    check(
        vec![syn(QUEUED), with(null | Path::REQSK_DROP, RST, 2), ack(late)],
        "syn.queued later.reset_by_client later.reset_no_socket => later.reset_no_socket",
    );
    // A challenge ACK: the request is still there.
    check(vec![syn(QUEUED), with(null, RST, 9)], "syn.queued => later.pending");
}

#[test]
fn fast_open() {
    let child = Path::CONN_REQUEST | Path::SYN_RECV_SOCK_CHILD | Path::QUEUE_ADD;
    check(vec![syn(child)], "syn.fastopen => syn.fastopen");
    check(
        vec![tp(syn(Path::TP_SYNACK_FASTOPEN)), tp(ack(Path::TP_ESTABLISHED))],
        "syn.fastopen? => syn.fastopen",
    );
    // The child that fills the accept queue is none that found it full.
    let filled = Event {
        after: Some(QueueView { accept: Some((2, 1)), ..QueueView::default() }),
        ..syn(child)
    };
    check(vec![filled], "syn.fastopen => syn.fastopen");
    // Its queue is full: an ordinary handshake, or whatever else becomes of the SYN.
    let full_queue = |path: u32| syn(path | Path::FASTOPEN_FULL);
    check(
        vec![full_queue(QUEUED), ack(TAKEN)],
        "syn.fastopen_queue_full? syn.queued ack.accepted => ack.accepted",
    );
    check(
        vec![tp(full_queue(Path::TP_SYNACK_REQUEST)), tp(ack(Path::TP_ESTABLISHED))],
        "syn.fastopen_queue_full? syn.queued? ack.accepted? => ack.accepted",
    );
    check(vec![full_queue(COOKIE)], "syn.fastopen_queue_full? syn.cookie => syn.cookie");
    // A child whose RST was long ago has made room (rskq_rst_head).
    check(vec![full_queue(child)], "syn.fastopen => syn.fastopen");
    check(
        vec![full(full_queue(Path::CONN_REQUEST))],
        "syn.drop.accept_queue_full => syn.drop.accept_queue_full",
    );
    // Data after the application closed it.
    let late = Event { sk_state: 10, ..event(Kind::Reset, Path::SEND_RESET) };
    check(vec![syn(child), late], "syn.fastopen => syn.fastopen");
}

#[test]
fn another_listener_decides() {
    let other = Event { sk: 77, ..full(ack(REFUSED)) };
    check(
        vec![syn(QUEUED), other.clone(), other],
        "syn.queued later.migrated ack.drop.overflow+1 => later.pending",
    );
    // Not migrated, but dropped: the segment met the other listener as a stranger.
    let gone = Event { sk_state: 7, ..event(Kind::RequestRemoved, Path::REQSK_DROP) };
    let refused = Path::COOKIE_CHECK | Path::COOKIE_CHECK_LISTENER | Path::SEND_RESET;
    check(
        vec![syn(QUEUED), gone, Event { sk: 77, ..ack(refused) }],
        "syn.queued later.request_orphaned later.reset_no_socket => later.reset_no_socket",
    );
    check(
        vec![syn(QUEUED), Event { sk: 77, ..ack(refused) }],
        "syn.queued later.reset_no_socket => later.reset_no_socket",
    );
    // Where no SYN-ACK shows that the timer moved it, the other listener's ACK does.
    let timer = Event { sk_state: 7, ..event(Kind::RequestRemoved, Path::REQSK_TIMER) };
    let accepted = Event { sk: 77, ..ack(Path::CHECK_REQ | Path::CHECK_REQ_CHILD) };
    check(
        vec![syn(QUEUED), timer, accepted],
        "syn.queued later.migrated ack.accepted => ack.accepted",
    );
    // A cookie belongs to no listener in particular.
    let taken = Event { sk: 77, ..ack(Path::COOKIE_CHECK | Path::COOKIE_CHECK_CHILD) };
    check(vec![syn(COOKIE), taken], "syn.cookie ack.accepted.cookie => ack.accepted.cookie");
}
