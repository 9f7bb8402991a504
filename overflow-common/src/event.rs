//! The one ring record: what was read at a hook point.

use crate::segment::{FIN, SYN};

/// Accept queue and SYN queue of a listener at one instant.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// `sk_ack_backlog`: connections in the accept queue.
    pub ack_backlog: u32,
    /// `sk_max_ack_backlog`: its limit; the queue is full when `ack_backlog > max_ack_backlog`.
    pub max_ack_backlog: u32,
    /// `icsk_accept_queue.qlen`: requests in the SYN queue.
    pub qlen: u32,
    /// `icsk_accept_queue.young`: of these, never retransmitted.
    pub young: u32,
}

/// What was read at a hook point, as it travels through the ring.
///
/// A value counts only if its bit in `valid` is set: a field that this kernel does not have, or
/// that could not be read, is absent, never zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawEvent {
    /// CLOCK_MONOTONIC nanoseconds (`bpf_ktime_get_ns`) when the hook point was reached.
    pub t_ns: u64,
    /// Address of the `struct sock` the record is about (the listener, or the child at its close);
    /// an identity, never dereferenced by user space.
    pub sk: u64,
    /// Address of the `struct request_sock`, or 0.
    pub req: u64,
    /// Code address that freed the segment (`kfree_skb`'s `location`), or 0.
    pub location: u64,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// CPU on which the whole decision ran.
    pub cpu: u32,
    /// What was gone through: [`crate::Path`] bits.
    pub path: u32,
    /// `enum skb_drop_reason` with which the segment was freed.
    pub drop_reason: u32,
    /// `enum sk_rst_reason` of the RST that was sent.
    pub reset_reason: u32,
    /// Sequence number of the segment.
    pub seq: u32,
    /// Acknowledgement number of the segment.
    pub ack_seq: u32,
    /// TCP payload bytes of the segment.
    pub payload_len: u32,
    /// Inode number of the listener's socket, as in `/proc/PID/fd`: with `netns` its identity as
    /// long as it lives, and hardly ever given again after that. 0 if it is not known.
    pub ino: u32,
    /// `tcp_request_sock.rcv_nxt`: the sequence number that the request expects.
    pub rcv_nxt: u32,
    /// `request_sock.rsk_rcv_wnd`: the window that its SYN-ACK offered, bytes.
    pub rcv_wnd: u32,
    /// Zero.
    pub reserved: u32,
    /// Queues when the segment entered the decision.
    pub before: Queue,
    /// Queues when the decision was over.
    pub after: Queue,
    /// Client address; IPv4 in the first four bytes.
    pub client: [u8; 16],
    /// Server address; IPv4 in the first four bytes.
    pub server: [u8; 16],
    /// Client port, host order.
    pub client_port: u16,
    /// Server port, host order.
    pub server_port: u16,
    /// Which values were read: [`valid`] bits.
    pub valid: u16,
    /// A [`Kind`].
    pub kind: u8,
    /// The [`Rung`] that made the record.
    pub rung: u8,
    /// 4 or 6: the version of the IP header.
    pub family: u8,
    /// TCP header flags of the segment.
    pub tcp_flags: u8,
    /// `sysctl_tcp_abort_on_overflow` of the listener's namespace at the end of the decision.
    pub abort_on_overflow: u8,
    /// `sysctl_tcp_syncookies` of the listener's namespace.
    pub syncookies: u8,
    /// `request_sock.num_timeout`: SYN-ACK timeouts so far.
    pub num_timeout: u8,
    /// `request_sock.num_retrans`: SYN-ACKs resent so far.
    pub num_retrans: u8,
    /// `icsk_accept_queue.rskq_defer_accept`.
    pub defer_accept: u8,
    /// `sk_state` of `sk`.
    pub sk_state: u8,
}

/// Bits of [`RawEvent::valid`].
pub mod valid {
    /// `before.{ack_backlog,max_ack_backlog}` and, if an exit was seen, `after`'s.
    pub const ACCEPT_QUEUE: u16 = 1 << 0;
    /// `{before,after}.qlen`.
    pub const SYN_QUEUE: u16 = 1 << 1;
    /// `{before,after}.young`.
    pub const YOUNG: u16 = 1 << 2;
    /// `abort_on_overflow`.
    pub const ABORT_ON_OVERFLOW: u16 = 1 << 3;
    /// `syncookies`.
    pub const SYNCOOKIES: u16 = 1 << 4;
    /// `num_timeout`, `num_retrans`.
    pub const NUM_TIMEOUT: u16 = 1 << 5;
    /// `defer_accept`.
    pub const DEFER_ACCEPT: u16 = 1 << 6;
    /// `drop_reason`.
    pub const DROP_REASON: u16 = 1 << 7;
    /// `reset_reason`.
    pub const RESET_REASON: u16 = 1 << 8;
    /// `seq`, `ack_seq`, `tcp_flags`, `payload_len`: a segment was parsed.
    pub const SEGMENT: u16 = 1 << 9;
    /// `after` was read.
    pub const AFTER: u16 = 1 << 10;
    /// `rcv_nxt`, `rcv_wnd`.
    pub const WINDOW: u16 = 1 << 11;
    /// The segment's timestamps were looked at, if it has any, and compared with the request's: the
    /// two below say how.
    pub const TIMESTAMPS: u16 = 1 << 12;
    /// TSval is before `request_sock.ts_recent`, as `tcp_paws_check` compares them.
    pub const TSVAL_OLD: u16 = 1 << 13;
    /// TSecr is none that the request's SYN-ACKs carried (`snt_tsval_first` to `snt_tsval_last`), on a
    /// kernel that asks for it.
    pub const TSECR_UNSENT: u16 = 1 << 14;
}

/// Declares an enum that a record holds as a byte.
macro_rules! numbered {
    (
        $(#[doc = $about:literal])+
        pub enum $Name:ident { $($(#[doc = $doc:literal])+ $Variant:ident = $number:literal,)+ }
    ) => {
        $(#[doc = $about])+
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $Name { $($(#[doc = $doc])+ $Variant = $number,)+ }

        impl $Name {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$Variant,)+];

            /// The one with this number, if there is one.
            pub const fn from_u8(n: u8) -> Option<Self> {
                match n {
                    $($number => Some(Self::$Variant),)+
                    _ => None,
                }
            }
        }
    };
}

numbered! {
    /// Which hook point a record is of.
    pub enum Kind {
        /// A SYN went through `tcp_conn_request`.
        Syn = 1,
        /// A segment met a request (`tcp_check_req`) or the cookie check (`cookie_v4_check`).
        Ack = 2,
        /// An RST was sent outside of such a decision (`tcp_v4_send_reset`).
        Reset = 3,
        /// A SYN-ACK was sent again (`tcp_rtx_synack`).
        SynAckRetransmit = 4,
        /// A request was removed outside of such a decision: it expired or its listener went away.
        RequestRemoved = 5,
        /// A child that nobody had accepted was reset by `tcp_send_active_reset`.
        ActiveReset = 6,
        /// The application took a child with `accept()` (`inet_csk_accept`).
        Accept = 7,
        /// An ICMP error removed a request (`tcp_req_err`).
        IcmpError = 8,
        /// A request was destroyed from outside (`tcp_abort`: `SOCK_DESTROY`, as `ss -K` asks for).
        Destroyed = 9,
        /// The client's RST ended a child that nobody had accepted (`tcp_reset`).
        PeerReset = 10,
    }
}

numbered! {
    /// How the record was obtained.
    pub enum Rung {
        /// fentry/fexit: BPF trampolines on the functions themselves.
        Fentry = 1,
        /// kprobe/kretprobe on the functions themselves.
        Kprobe = 2,
        /// Tracepoints (`tp_btf`) around them.
        Tracepoint = 3,
    }
}

impl Rung {
    /// The rung's name in options and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
        }
    }
}

const _: () = assert!(size_of::<RawEvent>() == 160 && size_of::<RawEvent>().is_multiple_of(8));

impl RawEvent {
    /// An [`ino`](Self::ino) that says: of a socket that is not known, but not of the one that
    /// listens where the segment went.
    pub const NOT_AT_ADDRESS: u32 = u32::MAX;

    /// Nothing read, nothing known.
    pub const EMPTY: Self = Self {
        t_ns: 0,
        sk: 0,
        req: 0,
        location: 0,
        netns: 0,
        cpu: 0,
        path: 0,
        drop_reason: 0,
        reset_reason: 0,
        seq: 0,
        ack_seq: 0,
        payload_len: 0,
        ino: 0,
        rcv_nxt: 0,
        rcv_wnd: 0,
        reserved: 0,
        before: Queue { ack_backlog: 0, max_ack_backlog: 0, qlen: 0, young: 0 },
        after: Queue { ack_backlog: 0, max_ack_backlog: 0, qlen: 0, young: 0 },
        client: [0; 16],
        server: [0; 16],
        client_port: 0,
        server_port: 0,
        valid: 0,
        kind: 0,
        rung: 0,
        family: 0,
        tcp_flags: 0,
        abort_on_overflow: 0,
        syncookies: 0,
        num_timeout: 0,
        num_retrans: 0,
        defer_accept: 0,
        sk_state: 0,
    };

    /// Whether the segment lies in the window that its request offered: `tcp_in_window`
    /// (net/ipv4/tcp_minisocks.c), the same from 3.10 to 7.3, as `tcp_check_req` calls it. `None`
    /// without a segment or a request, and where kernels differ: since v6.10 (commit f4dca95fc0f6)
    /// and in many stables no more than 65535 bytes count (`tcp_synack_window`), before all of
    /// `rsk_rcv_wnd`.
    #[inline(always)]
    pub fn in_window(&self) -> Option<bool> {
        const NEEDED: u16 = valid::WINDOW | valid::SEGMENT;
        if self.valid & NEEDED != NEEDED {
            return None;
        }
        let unscaled = if self.rcv_wnd > 0xffff { 0xffff } else { self.rcv_wnd };
        let inside = self.inside(self.rcv_wnd);
        if inside == self.inside(unscaled) { Some(inside) } else { None }
    }

    #[inline(always)]
    fn inside(&self, window: u32) -> bool {
        let flag = |flag: u8| u32::from(self.tcp_flags & flag != 0);
        let length = self.payload_len.wrapping_add(flag(SYN)).wrapping_add(flag(FIN));
        let (seq, end_seq) = (self.seq, self.seq.wrapping_add(length));
        let (start, end) = (self.rcv_nxt, self.rcv_nxt.wrapping_add(window));
        let before = |a: u32, b: u32| a.wrapping_sub(b).cast_signed() < 0;
        seq == start
            || (before(start, end_seq) && before(seq, end))
            || (seq == end && seq == end_seq)
    }

    /// The record's bytes as they lie in the ring, in native byte order.
    pub fn as_bytes(&self) -> &[u8; size_of::<Self>()] {
        // SAFETY: repr(C) without padding (asserted above), so every byte is initialised.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    /// The record whose bytes these are; `None` if there are too few of them.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..size_of::<Self>())?;
        // SAFETY: the length was checked, every bit pattern is a valid RawEvent, and the read does
        // not ask for alignment.
        Some(unsafe { core::ptr::read_unaligned(bytes.as_ptr().cast()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_the_requests() {
        let valid = valid::WINDOW | valid::SEGMENT;
        let at = |seq: u32, payload_len, tcp_flags| {
            let event = RawEvent { seq, payload_len, valid, tcp_flags, ..RawEvent::EMPTY };
            RawEvent { rcv_nxt: 1000, rcv_wnd: 10, ..event }.in_window().unwrap()
        };
        assert!(at(1000, 0, 0x10) && at(999, 2, 0x10) && at(1009, 0, 0x10) && at(1010, 0, 0x10));
        assert!(!at(999, 0, 0x10) && !at(1011, 0, 0x10) && !at(1010, 1, 0x10));
        assert!(!at(999, 1, 0x10) && at(999, 1, 0x11) && !at(1010, 0, 0x11));
        let wrapped = RawEvent { seq: 1, rcv_nxt: u32::MAX, rcv_wnd: 4, valid, ..RawEvent::EMPTY };
        assert_eq!(wrapped.in_window(), Some(true));
        assert_eq!(RawEvent { valid: valid::WINDOW, ..wrapped }.in_window(), None);
        // Beyond what an unscaled window can offer kernels differ.
        let large = RawEvent { rcv_nxt: 0, rcv_wnd: 100_000, ..wrapped };
        let at = |seq| RawEvent { seq, ..large }.in_window();
        assert_eq!([at(65_000), at(70_000), at(100_001)], [Some(true), None, Some(false)]);
    }
}
