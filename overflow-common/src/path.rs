//! The path word: what one segment went through, a bit each.

/// Bits of [`crate::RawEvent::path`]. Set by the hooks as the kernel passes; judged by user space.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path(pub u32);

impl Path {
    /// `tcp_conn_request` entered.
    pub const CONN_REQUEST: u32 = 1 << 0;
    /// `inet_csk_reqsk_queue_hash_add` called: the SYN became a request.
    pub const REQSK_HASHED: u32 = 1 << 1;
    /// `cookie_v4_init_sequence` / `cookie_v6_init_sequence` called: a cookie is sent.
    pub const COOKIE_INIT: u32 = 1 << 2;
    /// `tcp_check_req` entered.
    pub const CHECK_REQ: u32 = 1 << 3;
    /// `tcp_check_req` returned NULL.
    pub const CHECK_REQ_NULL: u32 = 1 << 4;
    /// `tcp_check_req` returned the listener.
    pub const CHECK_REQ_LISTENER: u32 = 1 << 5;
    /// `tcp_check_req` returned a child.
    pub const CHECK_REQ_CHILD: u32 = 1 << 6;
    /// `cookie_v4_check` / `cookie_v6_check` entered.
    pub const COOKIE_CHECK: u32 = 1 << 7;
    /// It returned NULL.
    pub const COOKIE_CHECK_NULL: u32 = 1 << 8;
    /// It returned the listener: no valid cookie.
    pub const COOKIE_CHECK_LISTENER: u32 = 1 << 9;
    /// It returned a child.
    pub const COOKIE_CHECK_CHILD: u32 = 1 << 10;
    /// `tcp_v4_syn_recv_sock` / `tcp_v6_syn_recv_sock` returned a child.
    pub const SYN_RECV_SOCK_CHILD: u32 = 1 << 11;
    /// It returned NULL.
    pub const SYN_RECV_SOCK_NULL: u32 = 1 << 12;
    /// `inet_csk_reqsk_queue_add` put the child into the accept queue.
    pub const QUEUE_ADD: u32 = 1 << 13;
    /// It refused (the listener is no longer listening).
    pub const QUEUE_ADD_NULL: u32 = 1 << 14;
    /// `tcp_v4_send_reset` / `tcp_v6_send_reset` entered for this segment.
    pub const SEND_RESET: u32 = 1 << 15;
    /// `inet_csk_reqsk_queue_drop` called for this request.
    pub const REQSK_DROP: u32 = 1 << 16;
    /// The request left the table in `reqsk_timer_handler`: it died, or, with
    /// [`Self::REQSK_HASHED`], its clone took its place there (`inet_reqsk_clone`).
    pub const REQSK_TIMER: u32 = 1 << 17;
    /// Tracepoint `netif_receive_skb`: the segment arrived.
    pub const TP_RECEIVE: u32 = 1 << 18;
    /// Tracepoint `net_dev_queue`: a SYN-ACK owned by a request left while the SYN was handled.
    pub const TP_SYNACK_REQUEST: u32 = 1 << 19;
    /// Tracepoint `net_dev_queue`: a SYN-ACK owned by nobody left, as cookies are sent.
    pub const TP_SYNACK_COOKIE: u32 = 1 << 20;
    /// Tracepoint `inet_sock_set_state`: a child became ESTABLISHED while the ACK was handled.
    pub const TP_ESTABLISHED: u32 = 1 << 21;
    /// Tracepoint `consume_skb`: the segment was freed as if all was well.
    pub const TP_CONSUME_SKB: u32 = 1 << 22;
    /// Tracepoint `kfree_skb`: the segment was dropped.
    pub const TP_KFREE_SKB: u32 = 1 << 23;
    /// Tracepoint `tcp_send_reset`: an RST was sent for this segment.
    pub const TP_SEND_RESET: u32 = 1 << 24;

    /// Tracepoint `net_dev_queue`: a SYN-ACK owned by a child left, as Fast Open sends it.
    pub const TP_SYNACK_FASTOPEN: u32 = 1 << 25;
    /// What this CPU's counters of the namespace rose by while the segment was handled is known.
    pub const COUNTED: u32 = 1 << 26;
    /// `ListenDrops` rose.
    pub const COUNTED_DROP: u32 = 1 << 27;
    /// `ListenOverflows` rose.
    pub const COUNTED_OVERFLOW: u32 = 1 << 28;
    /// `TCPReqQFullDrop` rose.
    pub const COUNTED_QUEUE_FULL: u32 = 1 << 29;
    /// They do not tell: read for the first time, or risen by drops of several kinds that no hook saw.
    /// The queue, read when the SYN was done with, stands in.
    pub const UNCOUNTED: u32 = 1 << 30;
    /// As the SYN entered, as many Fast Open children waited for their third ACK as the listener
    /// allows (`fastopenq.qlen >= max_qlen`), and the SYN carries data.
    pub const FASTOPEN_FULL: u32 = 1 << 31;

    /// Whether any of `bits` is set.
    #[inline(always)]
    pub const fn has(self, bits: u32) -> bool {
        self.0 & bits != 0
    }
}
