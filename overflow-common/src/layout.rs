//! Kernel facts resolved from BTF before load and injected as read-only globals.

/// Where a kernel field lies inside its structure. Packed into one word so that the eBPF side
/// reads it with one load: offset in the low 32 bits, then size, shift and width, a byte each.
/// A structure's place has size 8 (its address is meant, not its bytes).
/// A size of 0 means that this kernel has no such field.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field(u64);

impl Field {
    /// A field that this kernel does not have.
    pub const MISSING: Self = Self(0);

    /// A whole integer or pointer of `size` bytes (1, 2, 4 or 8) at byte `offset`.
    pub const fn whole(offset: u32, size: u8) -> Self {
        Self::bits(offset, size, 0, size * 8)
    }

    /// `width` bits, `shift` bits into the little-endian integer of `size` bytes at `offset`.
    pub const fn bits(offset: u32, size: u8, shift: u8, width: u8) -> Self {
        Self(offset as u64 | (size as u64) << 32 | (shift as u64) << 40 | (width as u64) << 48)
    }

    /// Byte offset from the start of the outermost structure.
    #[inline(always)]
    pub const fn offset(self) -> u64 {
        self.0 & 0xffff_ffff
    }

    /// Bytes to read: 1, 2, 4 or 8; 0 if missing.
    #[inline(always)]
    pub const fn size(self) -> u8 {
        self.byte(4)
    }

    /// Bits to shift right after reading.
    #[inline(always)]
    pub const fn shift(self) -> u8 {
        self.byte(5)
    }

    /// Bits to keep after shifting.
    #[inline(always)]
    pub const fn width(self) -> u8 {
        self.byte(6)
    }

    #[inline(always)]
    const fn byte(self, n: usize) -> u8 {
        self.0.to_le_bytes()[n]
    }

    /// Whether this kernel has the field.
    #[inline(always)]
    pub const fn exists(self) -> bool {
        self.size() != 0
    }
}

/// The 8-byte slot of an argument or return value in a BTF context: argument `n` is slot `n`, a
/// function's return value is the slot after its last argument.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub u8);

impl Slot {
    /// This kernel's function has no such argument.
    pub const MISSING: Self = Self(0xff);
    /// Slots that a context can have: 12 arguments and the return value.
    pub const MAX: u8 = 12;

    /// Whether this kernel's function has it.
    #[inline(always)]
    pub const fn exists(self) -> bool {
        self.0 != Self::MISSING.0
    }
}

/// Calls `$then!` with every kernel field that the eBPF side reads:
/// `NAME: "structure", "path.to.member";`. One list, so that the two sides cannot drift apart.
#[macro_export]
macro_rules! for_each_field {
    ($then:ident) => {
        $then! {
            SOCK_STATE: "sock", "__sk_common.skc_state";
            SOCK_FAMILY: "sock", "__sk_common.skc_family";
            SOCK_NUM: "sock", "__sk_common.skc_num";
            SOCK_DPORT: "sock", "__sk_common.skc_dport";
            SOCK_DADDR: "sock", "__sk_common.skc_daddr";
            SOCK_RCV_SADDR: "sock", "__sk_common.skc_rcv_saddr";
            SOCK_V6_DADDR: "sock", "__sk_common.skc_v6_daddr";
            SOCK_V6_RCV_SADDR: "sock", "__sk_common.skc_v6_rcv_saddr";
            INET_SPORT: "inet_sock", "inet_sport";
            SOCK_NET: "sock", "__sk_common.skc_net.net";
            SOCK_NODE_PPREV: "sock", "__sk_common.skc_nulls_node.pprev";
            SOCK_ACK_BACKLOG: "sock", "sk_ack_backlog";
            SOCK_MAX_ACK_BACKLOG: "sock", "sk_max_ack_backlog";
            SOCK_DROPS: "sock", "sk_drops.counter";
            SOCK_SOCKET: "sock", "sk_socket";
            SOCK_FLAGS: "sock", "__sk_common.skc_flags";
            ICSK_QLEN: "inet_connection_sock", "icsk_accept_queue.qlen.counter";
            ICSK_YOUNG: "inet_connection_sock", "icsk_accept_queue.young.counter";
            ICSK_DEFER_ACCEPT: "inet_connection_sock", "icsk_accept_queue.rskq_defer_accept";
            NET_INUM: "net", "ns.inum";
            NET_ABORT_ON_OVERFLOW: "net", "ipv4.sysctl_tcp_abort_on_overflow";
            NET_SYNCOOKIES: "net", "ipv4.sysctl_tcp_syncookies";
            NET_STATISTICS: "net", "mib.net_statistics";
            REQ_NUM_TIMEOUT: "request_sock", "num_timeout";
            REQ_NUM_RETRANS: "request_sock", "num_retrans";
            REQ_LISTENER: "request_sock", "__req_common.skc_listener";
            REQ_TIMER: "request_sock", "rsk_timer";
            REQ_ACKED: "inet_request_sock", "acked";
            REQ_SNT_ISN: "tcp_request_sock", "snt_isn";
            TCP_IS_MPTCP: "tcp_sock", "is_mptcp";
            SKB_HEAD: "sk_buff", "head";
            SKB_DATA: "sk_buff", "data";
            SKB_SK: "sk_buff", "sk";
            SKB_DEV: "sk_buff", "dev";
            SKB_NETWORK_HEADER: "sk_buff", "network_header";
            SKB_PROTOCOL: "sk_buff", "protocol";
            ARRAY_PPTRS: "bpf_array", "pptrs";
            DEV_NET: "net_device", "nd_net.net";
        }
    };
}

/// Fields of [`for_each_field`] that are read without asking for their size, because it is the same
/// on every kernel known: (name, bytes; of an integer whose low byte alone is read, 1).
pub const EXACT_FIELDS: &[(&str, u8)] = &[
    ("SOCK_STATE", 1),
    ("SOCK_NUM", 2),
    ("SOCK_NET", 8),
    ("SOCK_ACK_BACKLOG", 4),
    ("SOCK_MAX_ACK_BACKLOG", 4),
    ("SOCK_DROPS", 4),
    ("NET_INUM", 4),
    ("NET_STATISTICS", 8),
    // `int` or `u8`, by version; its values fit the low byte.
    ("NET_ABORT_ON_OVERFLOW", 1),
    ("NET_SYNCOOKIES", 1),
    ("REQ_LISTENER", 8),
    // A bit, and given as the byte that holds it.
    ("REQ_ACKED", 1),
    ("SKB_HEAD", 8),
    ("SKB_NETWORK_HEADER", 2),
    ("SKB_PROTOCOL", 2),
    ("SKB_DATA", 8),
];

/// Fields of [`for_each_field`] that kernels lack on purpose: built without what they belong to.
pub const OPTIONAL_FIELDS: &[&str] = &["TCP_IS_MPTCP"];

/// Calls `$then!` with every argument and return slot that differs between kernels:
/// `NAME: "function or btf_trace_*", what;` where `what` is `return` or a parameter's type, because
/// BTF names the parameters of functions, but not those of tracepoints.
#[macro_export]
macro_rules! for_each_slot {
    ($then:ident) => {
        $then! {
            TCP_CHECK_REQ_RETURN: "tcp_check_req", "return";
            SYN_RECV_SOCK_RETURN: "tcp_v4_syn_recv_sock", "return";
            COOKIE_V4_CHECK_RETURN: "cookie_v4_check", "return";
            COOKIE_V6_CHECK_RETURN: "cookie_v6_check", "return";
            QUEUE_ADD_RETURN: "inet_csk_reqsk_queue_add", "return";
            ACCEPT_RETURN: "inet_csk_accept", "return";
            SEND_RESET_REASON: "tcp_v4_send_reset", "enum sk_rst_reason";
            TP_SEND_RESET_REASON: "btf_trace_tcp_send_reset", "enum sk_rst_reason";
            TP_KFREE_SKB_REASON: "btf_trace_kfree_skb", "enum skb_drop_reason";
            TP_KFREE_SKB_RX_SK: "btf_trace_kfree_skb", "struct sock *";
        }
    };
}

#[cfg(feature = "user")]
// SAFETY: repr(transparent) over u64.
unsafe impl aya::Pod for Field {}

#[cfg(feature = "user")]
// SAFETY: repr(transparent) over u8.
unsafe impl aya::Pod for Slot {}
