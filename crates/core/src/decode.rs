//! Ring records -> events: typed, with the kernel's numbers turned into its names.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use overflow_common::{Kind, Path, Queue, RawEvent, Rung, valid};

use crate::kernel::{Facts, Symbols};

/// One connection: who connects to whom, in which network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnKey {
    /// Inode number of the listener's network namespace.
    pub netns: u32,
    /// The active opener.
    pub client: SocketAddr,
    /// The listener's side.
    pub server: SocketAddr,
}

/// The segment an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// TCP flags, see [`crate::packet::flags`].
    pub flags: u8,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack_seq: u32,
    /// TCP payload, bytes.
    pub payload_len: u32,
}

/// How a third ACK's timestamps stand to its request's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timestamps {
    /// Nothing is the matter with them, or it has none.
    Good,
    /// TSval is older than the latest one of the client (PAWS, `tcp_paws_reject`).
    Old,
    /// TSecr is none that a SYN-ACK of the request carried (`tsecr_reject` in `tcp_check_req`, v6.14).
    EchoUnsent,
}

/// A listener's queues; `None` for what this kernel or rung does not show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueView {
    /// (`sk_ack_backlog`, `sk_max_ack_backlog`), connections.
    pub accept: Option<(u32, u32)>,
    /// `icsk_accept_queue.qlen`, requests.
    pub qlen: Option<u32>,
    /// `icsk_accept_queue.young`, requests.
    pub young: Option<u32>,
}

/// One decoded record as the rest of the pipeline sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// CLOCK_MONOTONIC nanoseconds.
    pub t_ns: u64,
    /// What happened.
    pub kind: Kind,
    /// By which rung it was seen.
    pub rung: Rung,
    /// What was gone through.
    pub path: Path,
    /// Whose connection.
    pub conn: ConnKey,
    /// Identity of the listener or child (an address, never dereferenced).
    pub sk: u64,
    /// Inode number of the listener's socket, if it is known.
    pub ino: Option<u32>,
    /// `sk_state` of `sk` as numbered in include/net/tcp_states.h; 0 if it was not read.
    pub sk_state: u8,
    /// Identity of the request, or 0.
    pub req: u64,
    /// The segment, if one was handled.
    pub segment: Option<Segment>,
    /// The queues when the segment came.
    pub before: QueueView,
    /// The queues when the decision was over.
    pub after: Option<QueueView>,
    /// `tcp_abort_on_overflow` of the listener's namespace.
    pub abort_on_overflow: Option<u8>,
    /// `tcp_syncookies` of the listener's namespace.
    pub syncookies: Option<u8>,
    /// The request's SYN-ACK timeouts.
    pub num_timeout: Option<u8>,
    /// `rskq_defer_accept`: timeouts for which a bare ACK is ignored.
    pub defer_accept: Option<u8>,
    /// Whether the segment lies in the window that its request offered, where that was read.
    pub in_window: Option<bool>,
    /// How its timestamps stand to its request's, where that was read.
    pub timestamps: Option<Timestamps>,
    /// Drop reason by name.
    pub drop_reason: Option<Arc<str>>,
    /// Reset reason by name.
    pub reset_reason: Option<Arc<str>>,
    /// The kernel function that freed the segment, if it is one we tell apart.
    pub freed_in: Option<&'static str>,
}

/// Turns records into events.
#[derive(Debug, Default)]
pub struct Decoder {
    drop_reasons: HashMap<u32, Arc<str>>,
    reset_reasons: HashMap<u32, Arc<str>>,
    symbols: Symbols,
    unknown: u64,
}

impl Decoder {
    /// A decoder for records of the kernel with these facts.
    pub fn new(facts: &Facts, symbols: Symbols) -> Self {
        let names = |all: &[(u32, String)]| {
            all.iter().map(|(n, name)| (*n, Arc::from(name.as_str()))).collect()
        };
        Self {
            drop_reasons: names(&facts.drop_reasons),
            reset_reasons: names(&facts.reset_reasons),
            symbols,
            unknown: 0,
        }
    }

    /// Decodes one record. `None`, and counted, if its kind, rung or family is unknown.
    pub fn decode(&mut self, event: &RawEvent) -> Option<Event> {
        let decoded = self.try_decode(event);
        self.unknown += u64::from(decoded.is_none());
        decoded
    }

    /// Whose record it is, without decoding the rest.
    pub fn connection(event: &RawEvent) -> Option<ConnKey> {
        Some(ConnKey {
            netns: event.netns,
            client: SocketAddr::new(address(event.family, event.client)?, event.client_port),
            server: SocketAddr::new(address(event.family, event.server)?, event.server_port),
        })
    }

    /// Records that could not be decoded.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    fn try_decode(&self, e: &RawEvent) -> Option<Event> {
        let has = |bit: u16| e.valid & bit != 0;
        let name = |names: &HashMap<u32, Arc<str>>, n: u32| {
            names.get(&n).cloned().unwrap_or_else(|| n.to_string().into())
        };
        let queue = |q: &Queue| QueueView {
            accept: has(valid::ACCEPT_QUEUE).then_some((q.ack_backlog, q.max_ack_backlog)),
            qlen: has(valid::SYN_QUEUE).then_some(q.qlen),
            young: has(valid::YOUNG).then_some(q.young),
        };
        Some(Event {
            t_ns: e.t_ns,
            kind: Kind::from_u8(e.kind)?,
            rung: Rung::from_u8(e.rung)?,
            path: Path(e.path),
            conn: Self::connection(e)?,
            sk: e.sk,
            ino: (e.ino != 0).then_some(e.ino),
            sk_state: e.sk_state,
            req: e.req,
            segment: has(valid::SEGMENT).then_some(Segment {
                flags: e.tcp_flags,
                seq: e.seq,
                ack_seq: e.ack_seq,
                payload_len: e.payload_len,
            }),
            before: queue(&e.before),
            after: has(valid::AFTER).then(|| queue(&e.after)),
            abort_on_overflow: has(valid::ABORT_ON_OVERFLOW).then_some(e.abort_on_overflow),
            syncookies: has(valid::SYNCOOKIES).then_some(e.syncookies),
            num_timeout: has(valid::NUM_TIMEOUT).then_some(e.num_timeout),
            defer_accept: has(valid::DEFER_ACCEPT).then_some(e.defer_accept),
            in_window: e.in_window(),
            timestamps: has(valid::TIMESTAMPS).then(|| {
                // The order of `tcp_check_req`.
                if has(valid::TSVAL_OLD) {
                    Timestamps::Old
                } else if has(valid::TSECR_UNSENT) {
                    Timestamps::EchoUnsent
                } else {
                    Timestamps::Good
                }
            }),
            drop_reason: has(valid::DROP_REASON).then(|| name(&self.drop_reasons, e.drop_reason)),
            reset_reason: has(valid::RESET_REASON)
                .then(|| name(&self.reset_reasons, e.reset_reason)),
            freed_in: (e.location != 0).then(|| self.symbols.function(e.location)).flatten(),
        })
    }
}

impl QueueView {
    /// `sk_acceptq_is_full`: `sk_ack_backlog > sk_max_ack_backlog`, in every kernel from 3.10 on.
    pub(crate) fn accept_queue_full(&self) -> Option<bool> {
        self.accept.map(|(len, max)| len > max)
    }
}

impl Event {
    /// Whether the accept queue was full when the segment was handled. Read on entry and again on
    /// exit: another CPU may have changed it in between, and either proves it.
    pub(crate) fn accept_queue_full(&self) -> Option<bool> {
        let before = self.before.accept_queue_full();
        let after = self.after.and_then(|q| q.accept_queue_full());
        match (before, after) {
            (Some(a), Some(b)) => Some(a || b),
            (a, b) => a.or(b),
        }
    }

    /// Whether the segment has all of `set` and none of `clear`; false without a segment.
    pub(crate) fn flags(&self, set: u8, clear: u8) -> bool {
        self.segment.is_some_and(|s| s.flags & set == set && s.flags & clear == 0)
    }
}

fn address(family: u8, bytes: [u8; 16]) -> Option<IpAddr> {
    match family {
        4 => Some(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
        6 => Some(Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_without_its_bit_is_absent() {
        let facts = Facts { drop_reasons: vec![(7, "X".into())], ..Facts::default() };
        let mut decoder = Decoder::new(&facts, Symbols::default());
        let mut event = RawEvent { kind: 2, rung: 1, family: 4, drop_reason: 7, ..RawEvent::EMPTY };
        let bare = decoder.decode(&event).unwrap();
        assert_eq!((&bare.drop_reason, bare.abort_on_overflow), (&None, None));
        assert_eq!(bare.before.accept, None);
        assert_eq!(bare.accept_queue_full(), None);
        event.valid = valid::DROP_REASON | valid::ACCEPT_QUEUE;
        event.before.ack_backlog = 1;
        let full = decoder.decode(&event).unwrap();
        assert_eq!(full.drop_reason.as_deref(), Some("X"));
        assert_eq!(full.accept_queue_full(), Some(true));
        event.drop_reason = 8;
        assert_eq!(decoder.decode(&event).unwrap().drop_reason.as_deref(), Some("8"));
    }

    #[test]
    fn timestamps_are_what_was_read_of_them() {
        let mut decoder = Decoder::default();
        let mut of = |valid| {
            let event = RawEvent { kind: 2, rung: 1, family: 4, valid, ..RawEvent::EMPTY };
            decoder.decode(&event).unwrap().timestamps
        };
        assert_eq!(of(valid::TSVAL_OLD), None);
        assert_eq!(of(valid::TIMESTAMPS), Some(Timestamps::Good));
        assert_eq!(of(valid::TIMESTAMPS | valid::TSVAL_OLD), Some(Timestamps::Old));
        assert_eq!(of(valid::TIMESTAMPS | valid::TSECR_UNSENT), Some(Timestamps::EchoUnsent));
    }

    #[test]
    fn unknown_kinds_are_counted() {
        let mut decoder = Decoder::default();
        for event in [
            RawEvent { kind: 99, rung: 1, family: 4, ..RawEvent::EMPTY },
            RawEvent { kind: 1, rung: 9, family: 4, ..RawEvent::EMPTY },
            RawEvent { kind: 1, rung: 1, family: 5, ..RawEvent::EMPTY },
        ] {
            assert_eq!(decoder.decode(&event), None);
        }
        assert_eq!(decoder.unknown(), 3);
    }
}
