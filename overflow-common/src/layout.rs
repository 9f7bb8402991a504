//! Kernel facts, a row each: user space resolves them from BTF and injects them before load as
//! read-only globals, which the eBPF side declares from the same rows.

/// Calls `$then!` with every kernel field that the eBPF side reads, a row each:
///
/// ```text
/// GLOBAL: "structure", "path.to.member" | "its.path.on.other.kernels", how;
/// ```
///
/// The first path that a kernel has is taken. `how` says what the eBPF side takes for granted,
/// see [`Reading`]: `exact(BYTES)`, `exact_in_all(BYTES)`, `bit(GLOBAL_OF_ITS_MASK)`, `optional`,
/// or nothing.
#[macro_export]
macro_rules! for_each_field {
    ($then:ident) => {
        $then! {
            SOCK_STATE: "sock", "__sk_common.skc_state", exact(1);
            SOCK_FAMILY: "sock", "__sk_common.skc_family";
            SOCK_NUM: "sock", "__sk_common.skc_num", exact(2);
            SOCK_DPORT: "sock", "__sk_common.skc_dport", exact(2);
            SOCK_DADDR: "sock", "__sk_common.skc_daddr", exact(4);
            SOCK_RCV_SADDR: "sock", "__sk_common.skc_rcv_saddr";
            SOCK_V6_DADDR: "sock", "__sk_common.skc_v6_daddr";
            SOCK_V6_RCV_SADDR: "sock", "__sk_common.skc_v6_rcv_saddr";
            INET_SPORT: "inet_sock", "inet_sport";
            SOCK_NET: "sock", "__sk_common.skc_net.net", exact(8);
            SOCK_IPV6ONLY: "sock", "__sk_common.skc_ipv6only";
            SOCK_NODE_PPREV: "sock", "__sk_common.skc_nulls_node.pprev";
            SOCK_ACK_BACKLOG: "sock", "sk_ack_backlog", exact(4);
            SOCK_MAX_ACK_BACKLOG: "sock", "sk_max_ack_backlog", exact(4);
            SOCK_DROPS: "sock", "sk_drops.counter", exact(4);
            SOCK_SOCKET: "sock", "sk_socket", exact(8);
            SOCKET_INO: "socket_alloc", "vfs_inode.i_ino";
            SOCK_FLAGS: "sock", "__sk_common.skc_flags";
            ICSK_QLEN: "inet_connection_sock", "icsk_accept_queue.qlen.counter";
            ICSK_YOUNG: "inet_connection_sock", "icsk_accept_queue.young.counter";
            ICSK_DEFER_ACCEPT: "inet_connection_sock", "icsk_accept_queue.rskq_defer_accept";
            ICSK_FASTOPEN_LEN: "inet_connection_sock", "icsk_accept_queue.fastopenq.qlen";
            ICSK_FASTOPEN_MAX: "inet_connection_sock", "icsk_accept_queue.fastopenq.max_qlen";
            NET_INUM: "net", "ns.inum", exact(4);
            // `int` or `u8`, by version; its values fit the low byte.
            NET_ABORT_ON_OVERFLOW: "net", "ipv4.sysctl_tcp_abort_on_overflow", exact(1);
            NET_SYNCOOKIES: "net", "ipv4.sysctl_tcp_syncookies", exact(1);
            NET_FASTOPEN: "net", "ipv4.sysctl_tcp_fastopen";
            NET_HASH_MIX: "net", "hash_mix", exact(4);
            NET_LIST: "net", "list";
            TASK_NSPROXY: "task_struct", "nsproxy";
            NSPROXY_NET: "nsproxy", "net_ns";
            NET_STATISTICS: "net", "mib.net_statistics", exact(8);
            REQ_NUM_TIMEOUT: "request_sock", "num_timeout";
            REQ_NUM_RETRANS: "request_sock", "num_retrans";
            REQ_LISTENER: "request_sock", "__req_common.skc_listener", exact(8);
            REQ_RCV_WND: "request_sock", "__req_common.skc_rcv_wnd";
            REQ_RCV_NXT: "tcp_request_sock", "rcv_nxt";
            REQ_TS_RECENT: "request_sock", "ts_recent";
            REQ_TSTAMP_OK: "inet_request_sock", "tstamp_ok";
            // Since v6.14.
            REQ_TSVAL_FIRST: "tcp_request_sock", "snt_tsval_first", optional;
            REQ_TSVAL_LAST: "tcp_request_sock", "snt_tsval_last", optional;
            REQ_TIMER: "request_sock", "rsk_timer";
            REQ_ACKED: "inet_request_sock", "acked", bit(REQ_ACKED_MASK);
            REQ_SNT_ISN: "tcp_request_sock", "snt_isn";
            SOCK_PROTOCOL: "sock", "sk_protocol";
            MSK_FIRST: "mptcp_sock", "first", optional;
            TCP_SYN_SMC: "tcp_sock", "syn_smc", optional;
            TCP_IS_MPTCP: "tcp_sock", "is_mptcp", optional;
            SKB_HEAD: "sk_buff", "head", exact_in_all(8);
            SKB_DATA: "sk_buff", "data", exact_in_all(8);
            SKB_CB: "sk_buff", "cb", exact(1);
            CB_TCP_FLAGS: "tcp_skb_cb", "tcp_flags", exact(1);
            CB_SEQ: "tcp_skb_cb", "seq", exact(4);
            CB_END_SEQ: "tcp_skb_cb", "end_seq", exact(4);
            SKB_SK: "sk_buff", "sk", exact(8);
            // In a union without a name; `dst_entry`'s address and a flag in its lowest bit.
            SKB_DST: "sk_buff", "_skb_refdst";
            DST_DEV: "dst_entry", "dev";
            SKB_DEV: "sk_buff", "dev", exact(8);
            SKB_NETWORK_HEADER: "sk_buff", "network_header", exact_in_all(2);
            SKB_TRANSPORT_HEADER: "sk_buff", "transport_header", exact_in_all(2);
            SKB_PROTOCOL: "sk_buff", "protocol", exact_in_all(2);
            ARRAY_PPTRS: "bpf_array", "pptrs";
            DEV_NET: "net_device", "nd_net.net", exact(8);
        }
    };
}

/// Calls `$then!` with every argument and return slot that differs between kernels, a row each:
///
/// ```text
/// GLOBAL: "function" | "its_name_on_other_kernels", "what";
/// ```
///
/// `what` is `return` or a parameter's type, because BTF names the parameters of functions, but not
/// those of tracepoints (`btf_trace_*`). The first function that has it is taken.
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

/// Calls `$then!` with every enumerator whose value the eBPF side needs, a row each:
///
/// ```text
/// GLOBAL: "enum", "ENUMERATOR" | "ITS_NAME_ON_OTHER_KERNELS", how;
/// ```
///
/// The enum's name is empty if it has none. `how` is `counter` for a place in `enum linux_mib` that
/// the drop counters are read at, `counter(NEXT)` if `NEXT` must come right after it, or nothing.
#[macro_export]
macro_rules! for_each_enumerator {
    ($then:ident) => {
        $then! {
            STATE_LISTEN: "", "TCP_LISTEN";
            STATE_SYN_RECV: "", "TCP_SYN_RECV";
            STATE_FIN_WAIT1: "", "TCP_FIN_WAIT1";
            STATE_ESTABLISHED: "", "TCP_ESTABLISHED";
            // The state of a request.
            STATE_NEW_SYN_RECV: "", "TCP_NEW_SYN_RECV";
            // The bit of `sk_flags`.
            FLAG_DEAD: "sock_flags", "SOCK_DEAD";
            // Both are read with one load.
            MIB_LISTENOVERFLOWS: "", "LINUX_MIB_LISTENOVERFLOWS", counter("LINUX_MIB_LISTENDROPS");
            MIB_TCPREQQFULLDROP: "", "LINUX_MIB_TCPREQQFULLDROP", counter;
        }
    };
}

/// A row of [`for_each_field`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldRow {
    /// The global that says where the field lies.
    pub global: &'static str,
    /// The structure.
    pub structure: &'static str,
    /// Dotted paths of the member; the first that this kernel has counts.
    pub paths: &'static [&'static str],
    /// What the eBPF side takes for granted.
    pub reading: Reading,
}

/// What the eBPF side takes for granted of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Nothing: it looks the size up. Without the field its values are absent, which is a loss.
    BySize,
    /// Nothing, and kernels lack the field on purpose: built without what it belongs to.
    Optional,
    /// That it has this many bytes on every kernel known (an integer whose low byte alone is read:
    /// 1): the programs that trace overflows alone read it without asking, and on the fentry rung all.
    Exact(u8),
    /// As [`Exact`](Self::Exact), by every program: without it nothing can be traced.
    ExactInAll(u8),
    /// That it is one bit: the field is given as the byte that holds it, and the bit as a mask in
    /// the global of this name.
    Bit(&'static str),
}

impl Reading {
    /// The bytes that are read without asking.
    pub const fn exact(self) -> Option<u8> {
        match self {
            Self::BySize | Self::Optional => None,
            Self::Exact(size) | Self::ExactInAll(size) => Some(size),
            Self::Bit(_) => Some(1),
        }
    }
}

/// A row of [`for_each_slot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRow {
    /// The global that says which slot it is.
    pub global: &'static str,
    /// Functions or `btf_trace_*` typedefs; the first that has it counts.
    pub functions: &'static [&'static str],
    /// `return`, or the parameter's type.
    pub what: &'static str,
}

/// A row of [`for_each_enumerator`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnumeratorRow {
    /// The global that gets its value.
    pub global: &'static str,
    /// The enum; `None` if it has no name.
    pub of: Option<&'static str>,
    /// The enumerator; the first name that this kernel has counts.
    pub names: &'static [&'static str],
    /// Whether it is the place of a counter that the eBPF side reads without asking.
    pub counter: Option<Counter>,
}

/// The place of a counter in `enum linux_mib`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// The enumerator that must come right after it, because both are read with one load.
    pub next: Option<&'static str>,
}

macro_rules! reading {
    () => {
        Reading::BySize
    };
    (optional) => {
        Reading::Optional
    };
    (exact $size:literal) => {
        Reading::Exact($size)
    };
    (exact_in_all $size:literal) => {
        Reading::ExactInAll($size)
    };
    (bit $mask:ident) => {
        Reading::Bit(stringify!($mask))
    };
}
macro_rules! counter {
    () => {
        None
    };
    (counter) => {
        Some(Counter { next: None })
    };
    (counter $next:literal) => {
        Some(Counter { next: Some($next) })
    };
}
macro_rules! field_rows {
    ($($global:ident: $structure:literal, $($path:literal)|+
        $(, $how:ident $(($value:tt))?)?;)+) => {
        &[$(FieldRow {
            global: stringify!($global),
            structure: $structure,
            paths: &[$($path),+],
            reading: reading!($($how $($value)?)?),
        }),+]
    };
}
macro_rules! slot_rows {
    ($($global:ident: $($function:literal)|+, $what:literal;)+) => {
        &[$(SlotRow {
            global: stringify!($global),
            functions: &[$($function),+],
            what: $what,
        }),+]
    };
}
macro_rules! enumerator_rows {
    ($($global:ident: $of:literal, $($name:literal)|+ $(, $how:ident $(($value:tt))?)?;)+) => {
        &[$(EnumeratorRow {
            global: stringify!($global),
            of: if $of.is_empty() { None } else { Some($of) },
            names: &[$($name),+],
            counter: counter!($($how $($value)?)?),
        }),+]
    };
}

/// [`for_each_field`] as a table.
pub const FIELDS: &[FieldRow] = for_each_field!(field_rows);
/// [`for_each_slot`] as a table.
pub const SLOTS: &[SlotRow] = for_each_slot!(slot_rows);
/// [`for_each_enumerator`] as a table.
pub const ENUMERATORS: &[EnumeratorRow] = for_each_enumerator!(enumerator_rows);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_where_else_a_field_may_be_and_how_it_is_read() {
        const ROWS: &[FieldRow] = field_rows! {
            A: "s", "new" | "old.path" | "older";
            B: "s", "b" | "c", exact(4);
            C: "s", "c", exact_in_all(8);
            D: "s", "d", bit(D_MASK);
            E: "s", "e", optional;
        };
        assert_eq!(ROWS[0].paths, ["new", "old.path", "older"]);
        assert_eq!(ROWS[1].paths, ["b", "c"]);
        let readings: [Reading; 5] = core::array::from_fn(|i| ROWS[i].reading);
        let (exact, in_all, bit) =
            (Reading::Exact(4), Reading::ExactInAll(8), Reading::Bit("D_MASK"));
        assert_eq!(readings, [Reading::BySize, exact, in_all, bit, Reading::Optional]);
        assert_eq!(readings.map(Reading::exact), [None, Some(4), Some(8), Some(1), None]);
    }

    #[test]
    fn slots_and_enumerators_have_other_names_too() {
        const SLOTS: &[SlotRow] = slot_rows! { A: "f" | "g", "return"; };
        const ENUMERATORS: &[EnumeratorRow] = enumerator_rows! {
            A: "", "NEW" | "OLD";
            B: "e", "B", counter;
            C: "e", "C", counter("D");
        };
        assert_eq!(SLOTS[0].functions, ["f", "g"]);
        assert_eq!((ENUMERATORS[0].of, ENUMERATORS[0].names), (None, &["NEW", "OLD"][..]));
        assert_eq!(
            (ENUMERATORS[1].of, ENUMERATORS[1].counter),
            (Some("e"), Some(Counter { next: None }))
        );
        assert_eq!(ENUMERATORS[2].counter, Some(Counter { next: Some("D") }));
    }

    #[test]
    fn no_global_has_two_rows() {
        let fields = FIELDS.iter().map(|row| row.global);
        let slots = SLOTS.iter().map(|row| row.global);
        let globals =
            || fields.clone().chain(slots.clone()).chain(ENUMERATORS.iter().map(|r| r.global));
        for global in globals() {
            assert_eq!(globals().filter(|other| *other == global).count(), 1, "{global}");
        }
    }

    #[test]
    fn sizes_are_those_of_loads() {
        for row in FIELDS {
            assert!(
                row.reading.exact().is_none_or(|n| [1, 2, 4, 8].contains(&n)),
                "{}",
                row.global
            );
        }
    }
}
