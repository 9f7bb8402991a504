//! What is counted in the kernel, so that it is exact however much happens: SYNs and third ACKs by
//! what they went through, and each listener's queue over time.

use crate::{Kind, Path, Queue, RawEvent, Rung, valid};

/// What decides a SYN's or third ACK's verdict, without whose it was: events with the same
/// signature have the same verdict, and are counted together.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Signature {
    /// Address of the listener's `struct sock`.
    pub sk: u64,
    /// [`RawEvent::location`].
    pub location: u64,
    /// [`RawEvent::path`].
    pub path: u32,
    /// [`RawEvent::valid`].
    pub valid: u16,
    /// [`RawEvent::kind`].
    pub kind: u8,
    /// [`RawEvent::rung`].
    pub rung: u8,
    /// The state of the queues, see `QueueState`.
    pub queue_state: u8,
    /// [`RawEvent::tcp_flags`].
    pub tcp_flags: u8,
    /// [`RawEvent::abort_on_overflow`].
    pub abort_on_overflow: u8,
    /// [`RawEvent::syncookies`].
    pub syncookies: u8,
    /// [`RawEvent::num_timeout`].
    pub num_timeout: u8,
    /// [`RawEvent::defer_accept`].
    pub defer_accept: u8,
    /// Zero.
    pub reserved: u16,
    /// [`RawEvent::drop_reason`].
    pub drop_reason: u32,
    /// [`RawEvent::ino`]: the listener's address alone may have been another's before.
    pub ino: u32,
}

/// Events of one signature that one CPU has counted and not yet added to those of all.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counting {
    /// Theirs.
    pub signature: Signature,
    /// How many; with 0 the rest means nothing.
    pub count: u64,
}

impl Counting {
    /// So many signatures each CPU counts by itself; two in one place take turns.
    pub const PLACES: usize = 16;
}

/// Healthy handshakes of a listener that one CPU has counted: where nothing is the matter, only how
/// many there were is of interest.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Healthy {
    /// SYNs that became requests.
    pub syns: u64,
    /// Third ACKs that became children, each in the accept queue.
    pub acks: u64,
}

/// A listener that has a place of its own, the same on every CPU. Its queue comes first: then the compiler
/// has nothing to add to a pointer that may be NULL, which verifiers refuse.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its accept queue.
    pub tally: Tally,
    /// Whose it is; nobody's where its address is 0.
    pub socket: Socket,
}

impl Place {
    /// How many there are, a power of two.
    pub const PLACES: usize = 1024;
    /// In so many of them, a power of two, a listener may be.
    pub const WAYS: u32 = 4;
}

/// Bits of [`Signature::queue_state`].
pub(crate) struct QueueState;

impl QueueState {
    /// The accept queue was longer than its limit before.
    pub(crate) const ACCEPT_FULL_BEFORE: u8 = 1;
    /// And after.
    pub(crate) const ACCEPT_FULL_AFTER: u8 = 1 << 1;
    /// The SYN queue was longer than the accept queue's limit before.
    pub(crate) const SYN_ABOVE: u8 = 1 << 2;
    /// Or just as long.
    pub(crate) const SYN_AT: u8 = 1 << 3;
    /// The segment had a payload.
    pub(crate) const PAYLOAD: u8 = 1 << 4;
    /// The segment lay in its request's window.
    pub(crate) const IN_WINDOW: u8 = 1 << 5;
    /// Or outside of it.
    pub(crate) const OUT_OF_WINDOW: u8 = 1 << 6;
}

impl Signature {
    /// That of an event.
    #[inline(always)]
    pub fn of(event: &RawEvent) -> Self {
        let (before, after) = (event.before, event.after);
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        Self {
            sk: event.sk,
            location: event.location,
            path: event.path,
            valid: event.valid,
            kind: event.kind,
            rung: event.rung,
            queue_state: bit(
                before.ack_backlog > before.max_ack_backlog,
                QueueState::ACCEPT_FULL_BEFORE,
            ) | bit(
                after.ack_backlog > after.max_ack_backlog,
                QueueState::ACCEPT_FULL_AFTER,
            ) | bit(before.qlen > before.max_ack_backlog, QueueState::SYN_ABOVE)
                | bit(before.qlen == before.max_ack_backlog, QueueState::SYN_AT)
                | bit(event.payload_len != 0, QueueState::PAYLOAD)
                | bit(event.in_window() == Some(true), QueueState::IN_WINDOW)
                | bit(event.in_window() == Some(false), QueueState::OUT_OF_WINDOW),
            tcp_flags: event.tcp_flags,
            abort_on_overflow: event.abort_on_overflow,
            syncookies: event.syncookies,
            num_timeout: event.num_timeout,
            defer_accept: event.defer_accept,
            reserved: 0,
            drop_reason: event.drop_reason,
            ino: event.ino,
        }
    }

    /// That of what a [`Healthy`] counts, a SYN or a third ACK, as the hooks of `rung` see it: only what
    /// decides its verdict.
    pub fn of_healthy(socket: Socket, kind: Kind, rung: Rung) -> Self {
        let path = match kind {
            Kind::Syn => Path::CONN_REQUEST | Path::REQSK_HASHED,
            _ => Path::CHECK_REQ | Path::SYN_RECV_SOCK_CHILD | Path::CHECK_REQ_CHILD,
        };
        let (kind, rung) = (kind as u8, rung as u8);
        Self { sk: socket.sk, ino: socket.ino, path, kind, rung, ..Self::default() }
    }

    /// An event with this signature: queues, payload and window are of the smallest size that fits.
    pub fn to_event(&self) -> RawEvent {
        const WINDOW_KNOWN: u8 = QueueState::IN_WINDOW | QueueState::OUT_OF_WINDOW;
        let has = |bit: u8| u32::from(self.queue_state & bit != 0);
        let queue = |full: u8| Queue {
            ack_backlog: 1 + has(full),
            max_ack_backlog: 1,
            qlen: has(QueueState::SYN_AT) + 2 * has(QueueState::SYN_ABOVE),
            young: 0,
        };
        RawEvent {
            sk: self.sk,
            ino: self.ino,
            location: self.location,
            path: self.path,
            valid: self.valid
                & !valid::YOUNG
                & if self.queue_state & WINDOW_KNOWN == 0 { !valid::WINDOW } else { u16::MAX },
            // The window is empty and begins at 0.
            seq: has(QueueState::OUT_OF_WINDOW),
            kind: self.kind,
            rung: self.rung,
            before: queue(QueueState::ACCEPT_FULL_BEFORE),
            after: queue(QueueState::ACCEPT_FULL_AFTER),
            tcp_flags: self.tcp_flags,
            payload_len: has(QueueState::PAYLOAD),
            abort_on_overflow: self.abort_on_overflow,
            syncookies: self.syncookies,
            num_timeout: self.num_timeout,
            defer_accept: self.defer_accept,
            drop_reason: self.drop_reason,
            family: 4,
            ..RawEvent::EMPTY
        }
    }
}

/// A listener, for as long as the trace lasts: another socket at its address has another inode.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Socket {
    /// Address of its `struct sock`.
    pub sk: u64,
    /// Inode number of its socket; 0 if it has none.
    pub ino: u32,
    /// Inode number of its network namespace.
    pub netns: u32,
}

/// A listener's accept queue since the trace began.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Tally {
    /// Local address: 4 bytes and zeros for an IPv4 socket, 16 bytes for an IPv6 socket.
    pub address: [u8; 16],
    /// Inode number of its network namespace.
    pub netns: u32,
    /// Local port, host order.
    pub port: u16,
    /// 4 or 6.
    pub family: u8,
    /// Not zero once the listener was closed.
    pub closed: u8,
    /// `sk_ack_backlog` and `sk_max_ack_backlog` when it last changed, connections.
    pub len: u32,
    /// See `len`.
    pub max: u32,
    /// Longest it was.
    pub len_max: u32,
    /// Zero.
    pub padding: u32,
    /// Since when it is full, CLOCK_MONOTONIC nanoseconds; 0 if it is not.
    pub full_since_ns: u64,
    /// How often it became full.
    pub full_times: u64,
    /// How long it was full, episodes that are over, nanoseconds.
    pub full_ns: u64,
    /// The longest of them.
    pub full_longest_ns: u64,
    /// Children put into it.
    pub queued: u64,
    /// Children taken by accept().
    pub accepted: u64,
    /// How long those waited together, nanoseconds; without the ones that were there before.
    pub wait_ns: u64,
    /// How many waited less than 2^n microseconds and no less than half of that.
    pub waits: [u64; Self::WAITS],
}

impl Tally {
    /// Adds what was counted of the same listener elsewhere, later.
    pub fn add(&mut self, other: &Self) {
        if other.queued.max(other.accepted) > 0 {
            (self.len, self.max) = (other.len, other.max);
        }
        self.closed |= other.closed;
        self.len_max = self.len_max.max(other.len_max);
        self.full_since_ns = self.full_since_ns.max(other.full_since_ns);
        self.full_longest_ns = self.full_longest_ns.max(other.full_longest_ns);
        self.full_times += other.full_times;
        self.full_ns += other.full_ns;
        self.queued += other.queued;
        self.accepted += other.accepted;
        self.wait_ns += other.wait_ns;
        for (sum, n) in self.waits.iter_mut().zip(other.waits) {
            *sum += n;
        }
    }

    /// The last but one ends at 2^26 µs, 67 s; the last has no end.
    pub const WAITS: usize = 28;
}

/// A child in an accept queue.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Address of its listener's `struct sock`.
    pub sk: u64,
    /// Since when, CLOCK_MONOTONIC nanoseconds.
    pub since_ns: u64,
}

const _: () = assert!(size_of::<Signature>() == 40);
const _: () = assert!(size_of::<Counting>() == 48);
const _: () = assert!(size_of::<Socket>() == 16);
const _: () = assert!(size_of::<Tally>() == 40 + 7 * 8 + Tally::WAITS * 8);
const _: () = assert!(size_of::<Healthy>() == 16);
const _: () = assert!(size_of::<Place>() == 16 + size_of::<Tally>());

#[cfg(feature = "user")]
// SAFETY: repr(C) integers without padding (sizes asserted above).
unsafe impl aya::Pod for Signature {}

#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for Counting {}

#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for Socket {}

#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for Tally {}

#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for Healthy {}

#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for Place {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A third ACK to a full accept queue.
    fn event() -> RawEvent {
        RawEvent {
            t_ns: 5,
            sk: 0xffff_8880_0000_1000,
            req: 0xffff_8880_0000_2000,
            location: 0xffff_ffff_8100_0000,
            netns: 0xf000_0098,
            cpu: 1,
            path: 0x1008,
            drop_reason: 3,
            seq: 7,
            ack_seq: 8,
            before: Queue { ack_backlog: 129, max_ack_backlog: 128, qlen: 4, young: 2 },
            after: Queue { ack_backlog: 128, max_ack_backlog: 128, qlen: 4, young: 2 },
            client: [9; 16],
            client_port: 40_000,
            server_port: 443,
            valid: valid::ACCEPT_QUEUE | valid::SYN_QUEUE | valid::AFTER | valid::SEGMENT,
            kind: 2,
            rung: 1,
            family: 4,
            tcp_flags: 0x10,
            abort_on_overflow: 1,
            syncookies: 2,
            num_timeout: 3,
            defer_accept: 4,
            ..RawEvent::EMPTY
        }
    }

    #[test]
    fn who_and_when_do_not_matter() {
        let mut other = event();
        other.t_ns = 6;
        other.cpu = 2;
        other.req = 1;
        other.seq = 1;
        other.ack_seq = 1;
        other.client = [1; 16];
        other.client_port = 1;
        other.num_retrans = 1;
        assert_eq!(Signature::of(&other), Signature::of(&event()));
    }

    #[test]
    fn whatever_decides_a_verdict_matters() {
        let changes: [fn(&mut RawEvent); 14] = [
            |e| e.sk += 1,
            |e| e.ino += 1,
            |e| e.location += 1,
            |e| e.path += 1,
            |e| e.valid = 0,
            |e| e.kind = 1,
            |e| e.rung = 2,
            |e| e.tcp_flags = 2,
            |e| e.abort_on_overflow = 0,
            |e| e.syncookies = 0,
            |e| e.num_timeout = 0,
            |e| e.defer_accept = 0,
            |e| e.drop_reason = 0,
            |e| e.payload_len = 1,
        ];
        for (i, change) in changes.iter().enumerate() {
            let mut other = event();
            change(&mut other);
            assert_ne!(Signature::of(&other), Signature::of(&event()), "change {i}");
        }
    }

    #[test]
    fn queues_count_by_how_they_stand_to_their_limit() {
        let queue_state = |before: (u32, u32, u32), after: (u32, u32), payload_len| {
            let queue = |(ack_backlog, max_ack_backlog), qlen| Queue {
                ack_backlog,
                max_ack_backlog,
                qlen,
                young: 0,
            };
            let (len, max, qlen) = before;
            let (before, after) = (queue((len, max), qlen), queue(after, 0));
            Signature::of(&RawEvent { payload_len, before, after, ..event() }).queue_state
        };
        // At its limit a queue still takes one.
        assert_eq!(queue_state((128, 128, 0), (128, 128), 0), 0);
        assert_eq!(queue_state((129, 128, 0), (128, 128), 0), QueueState::ACCEPT_FULL_BEFORE);
        assert_eq!(queue_state((128, 128, 0), (129, 128), 0), QueueState::ACCEPT_FULL_AFTER);
        assert_eq!(queue_state((0, 128, 127), (0, 128), 0), 0);
        assert_eq!(queue_state((0, 128, 128), (0, 128), 0), QueueState::SYN_AT);
        assert_eq!(queue_state((0, 128, 129), (0, 128), 0), QueueState::SYN_ABOVE);
        assert_eq!(queue_state((0, 128, 0), (0, 128), 1), QueueState::PAYLOAD);
    }

    #[test]
    fn what_was_counted_in_two_places_is_one_queue() {
        let mut waits = [0; Tally::WAITS];
        waits[3] = 2;
        let one =
            Tally { len: 1, max: 8, len_max: 7, queued: 4, accepted: 3, waits, ..Tally::default() };
        let other = Tally {
            len: 2,
            max: 9,
            len_max: 5,
            full_times: 1,
            full_ns: 30,
            full_longest_ns: 30,
            queued: 1,
            wait_ns: 6,
            waits,
            ..Tally::default()
        };
        let mut both = one;
        both.add(&other);
        assert_eq!((both.len, both.max, both.len_max), (2, 9, 7));
        assert_eq!((both.full_times, both.full_ns, both.full_longest_ns), (1, 30, 30));
        assert_eq!((both.queued, both.accepted, both.wait_ns, both.waits[3]), (5, 3, 6, 4));
        // One that saw nothing says nothing of the length.
        both.add(&Tally { closed: 1, ..Tally::default() });
        assert_eq!((both.len, both.max, both.closed), (2, 9, 1));
    }

    #[test]
    fn a_segment_counts_by_whether_it_is_in_the_window() {
        let request = RawEvent { rcv_nxt: 100, rcv_wnd: 10, ..event() };
        let request = RawEvent { valid: request.valid | valid::WINDOW, ..request };
        let at = |seq| Signature::of(&RawEvent { seq, ..request });
        assert_eq!(at(100), at(105));
        assert_ne!(at(100), at(111));
        let again = |seq| at(seq).to_event().in_window();
        assert_eq!((again(105), again(99), again(111)), (Some(true), Some(false), Some(false)));
        // Where kernels differ, the signature knows no more than its event.
        let large = RawEvent { rcv_wnd: 100_000, seq: 70_000, ..request };
        assert_eq!(Signature::of(&large).to_event().in_window(), None);
    }

    #[test]
    fn an_event_of_a_signature_has_that_signature() {
        for queue_state in 0..1 << 7 {
            let both = |a: u8, b: u8| queue_state & a != 0 && queue_state & b != 0;
            if both(QueueState::SYN_AT, QueueState::SYN_ABOVE)
                || both(QueueState::IN_WINDOW, QueueState::OUT_OF_WINDOW)
            {
                continue;
            }
            let window = QueueState::IN_WINDOW | QueueState::OUT_OF_WINDOW;
            let read = if queue_state & window == 0 { 0 } else { valid::WINDOW };
            let event = RawEvent { valid: event().valid | read, ..event() };
            let signature = Signature { queue_state, ..Signature::of(&event) };
            assert_eq!(Signature::of(&signature.to_event()), signature, "{queue_state:#b}");
        }
    }
}
