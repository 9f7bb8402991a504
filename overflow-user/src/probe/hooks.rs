//! The programs of each step of the ladder, and where they go.

use super::ladder::{Attach, Hook};

pub(super) const fn hook(program: &'static str, attach: Attach, target: &'static str) -> Hook {
    Hook { program, attach, target, optional: false, stand_ins: &[] }
}
pub(super) const fn fentry(program: &'static str, target: &'static str) -> Hook {
    hook(program, Attach::Fentry, target)
}
pub(super) const fn fexit(program: &'static str, target: &'static str) -> Hook {
    hook(program, Attach::Fexit, target)
}
pub(super) const fn kprobe(program: &'static str, target: &'static str) -> Hook {
    hook(program, Attach::Kprobe, target)
}
pub(super) const fn kretprobe(program: &'static str, target: &'static str) -> Hook {
    hook(program, Attach::Kretprobe, target)
}
pub(super) const fn tp(program: &'static str, target: &'static str) -> Hook {
    hook(program, Attach::TpBtf, target)
}
/// IPv6's twin of a function: absent when the kernel has no IPv6 or has it as a module.
pub(super) const fn v6(hook: Hook) -> Hook {
    extra(hook)
}
/// MPTCP's twin of a function: absent when the kernel has no MPTCP.
pub(super) const fn mptcp(hook: Hook) -> Hook {
    extra(hook)
}
/// What the hook point is traced without, too.
pub(super) const fn extra(hook: Hook) -> Hook {
    Hook { optional: true, ..hook }
}

pub(super) const fn or(hook: Hook, stand_ins: &'static [Hook]) -> Hook {
    Hook { stand_ins, ..hook }
}

pub(super) const SYN_FENTRY: &[Hook] = &[
    fentry("fentry_tcp_v4_conn_request", "tcp_v4_conn_request"),
    fexit("fexit_tcp_v4_conn_request", "tcp_v4_conn_request"),
    v6(fentry("fentry_tcp_v6_conn_request", "tcp_v6_conn_request")),
    v6(fexit("fexit_tcp_v6_conn_request", "tcp_v6_conn_request")),
    mptcp(fentry("fentry_subflow_v4_conn_request", "subflow_v4_conn_request")),
    mptcp(fexit("fexit_subflow_v4_conn_request", "subflow_v4_conn_request")),
    mptcp(fentry("fentry_subflow_v6_conn_request", "subflow_v6_conn_request")),
    mptcp(fexit("fexit_subflow_v6_conn_request", "subflow_v6_conn_request")),
    fentry("fentry_reqsk_queue_hash_add", "inet_csk_reqsk_queue_hash_add"),
    fentry("fentry_cookie_v4_init_sequence", "cookie_v4_init_sequence"),
    v6(fentry("fentry_cookie_v6_init_sequence", "cookie_v6_init_sequence")),
    fentry("fentry_inet_csk_listen_start", "inet_csk_listen_start"),
];
/// Of a healthy SYN the exit alone.
pub(super) const COUNTS_SYN_FENTRY: &[Hook] = &[
    fexit("fexit_tcp_v4_conn_request", "tcp_v4_conn_request"),
    v6(fexit("fexit_tcp_v6_conn_request", "tcp_v6_conn_request")),
    mptcp(fexit("fexit_subflow_v4_conn_request", "subflow_v4_conn_request")),
    mptcp(fexit("fexit_subflow_v6_conn_request", "subflow_v6_conn_request")),
    fentry("fentry_cookie_v4_init_sequence", "cookie_v4_init_sequence"),
    v6(fentry("fentry_cookie_v6_init_sequence", "cookie_v6_init_sequence")),
    fentry("fentry_inet_csk_listen_start", "inet_csk_listen_start"),
];
/// Of a healthy third ACK the exits alone.
pub(super) const COUNTS_ACK_FENTRY: &[Hook] = &[
    fexit("fexit_tcp_check_req", "tcp_check_req"),
    fentry("fentry_cookie_v4_check", "cookie_v4_check"),
    fexit("fexit_cookie_v4_check", "cookie_v4_check"),
    or(fexit("fexit_tcp_v4_syn_recv_sock", "tcp_v4_syn_recv_sock"), &[V4_SYN_RECV_SOCK]),
    fexit("fexit_reqsk_queue_add", "inet_csk_reqsk_queue_add"),
    v6(fentry("fentry_cookie_v6_check", "cookie_v6_check")),
    v6(fexit("fexit_cookie_v6_check", "cookie_v6_check")),
    v6(or(fexit("fexit_tcp_v6_syn_recv_sock", "tcp_v6_syn_recv_sock"), &[V6_SYN_RECV_SOCK])),
];
pub(super) const ACK_FENTRY: &[Hook] = &[
    fentry("fentry_tcp_check_req", "tcp_check_req"),
    fexit("fexit_tcp_check_req", "tcp_check_req"),
    fentry("fentry_cookie_v4_check", "cookie_v4_check"),
    fexit("fexit_cookie_v4_check", "cookie_v4_check"),
    or(fexit("fexit_tcp_v4_syn_recv_sock", "tcp_v4_syn_recv_sock"), &[V4_SYN_RECV_SOCK]),
    fexit("fexit_reqsk_queue_add", "inet_csk_reqsk_queue_add"),
    v6(fentry("fentry_cookie_v6_check", "cookie_v6_check")),
    v6(fexit("fexit_cookie_v6_check", "cookie_v6_check")),
    v6(or(fexit("fexit_tcp_v6_syn_recv_sock", "tcp_v6_syn_recv_sock"), &[V6_SYN_RECV_SOCK])),
];
/// Seven arguments are too many for a BPF trampoline before v6.5 (commit 473e3150e30a), and
/// commit 858d2a4f67ff gave this function a seventh in the stable releases of older kernels too.
pub(super) const V4_SYN_RECV_SOCK: Hook =
    kretprobe("kretprobe_syn_recv_sock", "tcp_v4_syn_recv_sock");
pub(super) const V6_SYN_RECV_SOCK: Hook =
    kretprobe("kretprobe_syn_recv_sock", "tcp_v6_syn_recv_sock");
pub(super) const SYN_KPROBE: &[Hook] = &[
    kprobe("kprobe_conn_request", "tcp_v4_conn_request"),
    kretprobe("kretprobe_conn_request", "tcp_v4_conn_request"),
    v6(kprobe("kprobe_conn_request", "tcp_v6_conn_request")),
    v6(kretprobe("kretprobe_conn_request", "tcp_v6_conn_request")),
    mptcp(kprobe("kprobe_conn_request", "subflow_v4_conn_request")),
    mptcp(kretprobe("kretprobe_conn_request", "subflow_v4_conn_request")),
    mptcp(kprobe("kprobe_conn_request", "subflow_v6_conn_request")),
    mptcp(kretprobe("kretprobe_conn_request", "subflow_v6_conn_request")),
    kprobe("kprobe_reqsk_queue_hash_add", "inet_csk_reqsk_queue_hash_add"),
    kprobe("kprobe_cookie_init_sequence", "cookie_v4_init_sequence"),
    v6(kprobe("kprobe_cookie_init_sequence", "cookie_v6_init_sequence")),
    kprobe("kprobe_inet_csk_listen_start", "inet_csk_listen_start"),
];
pub(super) const ACK_KPROBE: &[Hook] = &[
    kprobe("kprobe_tcp_check_req", "tcp_check_req"),
    kretprobe("kretprobe_tcp_check_req", "tcp_check_req"),
    kprobe("kprobe_cookie_check", "cookie_v4_check"),
    kretprobe("kretprobe_cookie_check", "cookie_v4_check"),
    V4_SYN_RECV_SOCK,
    kretprobe("kretprobe_reqsk_queue_add", "inet_csk_reqsk_queue_add"),
    v6(kprobe("kprobe_cookie_check", "cookie_v6_check")),
    v6(kretprobe("kretprobe_cookie_check", "cookie_v6_check")),
    v6(V6_SYN_RECV_SOCK),
];
pub(super) const RESET_KPROBE: &[Hook] = &[
    kprobe("kprobe_send_reset", "tcp_v4_send_reset"),
    v6(kprobe("kprobe_send_reset", "tcp_v6_send_reset")),
];
pub(super) const REQUEST_KPROBE: &[Hook] = &[
    kprobe("kprobe_reqsk_queue_drop", "inet_csk_reqsk_queue_drop"),
    kprobe("kprobe_reqsk_timer_handler", "reqsk_timer_handler"),
    kretprobe("kretprobe_reqsk_timer_handler", "reqsk_timer_handler"),
    extra(kprobe("kprobe_tcp_req_err", "tcp_req_err")),
    extra(kretprobe("kretprobe_tcp_req_err", "tcp_req_err")),
    ABORT_KPROBE,
];
pub(super) const RESET_FENTRY: &[Hook] = &[
    fentry("fentry_tcp_v4_send_reset", "tcp_v4_send_reset"),
    v6(fentry("fentry_tcp_v6_send_reset", "tcp_v6_send_reset")),
];
pub(super) const REQUEST_FENTRY: &[Hook] = &[
    fentry("fentry_reqsk_queue_drop", "inet_csk_reqsk_queue_drop"),
    fexit("fexit_reqsk_timer_handler", "reqsk_timer_handler"),
    extra(fentry("fentry_tcp_req_err", "tcp_req_err")),
    extra(fexit("fexit_tcp_req_err", "tcp_req_err")),
    ABORT_FENTRY,
];
/// Extra: how a request expires is seen without it.
pub(super) const ABORT_FENTRY: Hook = extra(fentry("fentry_tcp_abort", "tcp_abort"));
pub(super) const ABORT_KPROBE: Hook = extra(kprobe("kprobe_tcp_abort", "tcp_abort"));
pub(super) const DROPS_SYN_FENTRY: &[Hook] = &[
    fexit("drops_tcp_v4_conn_request", "tcp_v4_conn_request"),
    v6(fexit("drops_tcp_v6_conn_request", "tcp_v6_conn_request")),
    mptcp(fexit("drops_subflow_v4_conn_request", "subflow_v4_conn_request")),
    mptcp(fexit("drops_subflow_v6_conn_request", "subflow_v6_conn_request")),
    fentry("drops_cookie_v4_init_sequence", "cookie_v4_init_sequence"),
    v6(fentry("drops_cookie_v6_init_sequence", "cookie_v6_init_sequence")),
    fentry("drops_inet_csk_listen_start", "inet_csk_listen_start"),
    extra(fentry("fentry_tcp_req_err", "tcp_req_err")),
    extra(fexit("fexit_tcp_req_err", "tcp_req_err")),
];
pub(super) const DROPS_ACK_FENTRY: &[Hook] = &[
    fexit("drops_tcp_v4_syn_recv_sock", "tcp_v4_syn_recv_sock"),
    v6(fexit("drops_tcp_v6_syn_recv_sock", "tcp_v6_syn_recv_sock")),
    // A refused ACK's record waits for its RST.
    DROPS_V4_SEND_RESET,
    DROPS_V6_SEND_RESET,
];
pub(super) const DROPS_RESET_FENTRY: &[Hook] = &[DROPS_V4_SEND_RESET, DROPS_V6_SEND_RESET];
pub(super) const DROPS_V4_SEND_RESET: Hook = fentry("drops_tcp_v4_send_reset", "tcp_v4_send_reset");
pub(super) const DROPS_V6_SEND_RESET: Hook =
    v6(fentry("drops_tcp_v6_send_reset", "tcp_v6_send_reset"));
pub(super) const DROPS_SYN_KPROBE: &[Hook] = &[
    kprobe("kprobe_drops_conn_request", "tcp_v4_conn_request"),
    kretprobe("kretprobe_drops_conn_request", "tcp_v4_conn_request"),
    v6(kprobe("kprobe_drops_conn_request", "tcp_v6_conn_request")),
    v6(kretprobe("kretprobe_drops_conn_request", "tcp_v6_conn_request")),
    mptcp(kprobe("kprobe_drops_conn_request", "subflow_v4_conn_request")),
    mptcp(kretprobe("kretprobe_drops_conn_request", "subflow_v4_conn_request")),
    mptcp(kprobe("kprobe_drops_conn_request", "subflow_v6_conn_request")),
    mptcp(kretprobe("kretprobe_drops_conn_request", "subflow_v6_conn_request")),
    kprobe("kprobe_drops_cookie_init_sequence", "cookie_v4_init_sequence"),
    v6(kprobe("kprobe_drops_cookie_init_sequence", "cookie_v6_init_sequence")),
    kprobe("kprobe_drops_listen_start", "inet_csk_listen_start"),
    extra(kprobe("kprobe_tcp_req_err", "tcp_req_err")),
    extra(kretprobe("kretprobe_tcp_req_err", "tcp_req_err")),
];
pub(super) const DROPS_ACK_KPROBE: &[Hook] = &[
    kprobe("kprobe_drops_syn_recv_sock", "tcp_v4_syn_recv_sock"),
    kretprobe("kretprobe_drops_v4_syn_recv_sock", "tcp_v4_syn_recv_sock"),
    v6(kprobe("kprobe_drops_syn_recv_sock", "tcp_v6_syn_recv_sock")),
    v6(kretprobe("kretprobe_drops_v6_syn_recv_sock", "tcp_v6_syn_recv_sock")),
    DROPS_V4_SEND_RESET_KPROBE,
    DROPS_V6_SEND_RESET_KPROBE,
];
pub(super) const DROPS_RESET_KPROBE: &[Hook] =
    &[DROPS_V4_SEND_RESET_KPROBE, DROPS_V6_SEND_RESET_KPROBE];
pub(super) const DROPS_V4_SEND_RESET_KPROBE: Hook =
    kprobe("kprobe_drops_send_reset", "tcp_v4_send_reset");
pub(super) const DROPS_V6_SEND_RESET_KPROBE: Hook =
    v6(kprobe("kprobe_drops_send_reset", "tcp_v6_send_reset"));
pub(super) const TP_SET_STATE: Hook = tp("tp_inet_sock_set_state", "inet_sock_set_state");
pub(super) const TP_RECEIVE: Hook = tp("tp_netif_receive_skb", "netif_receive_skb");
pub(super) const TP_QUEUE: Hook = tp("tp_net_dev_queue", "net_dev_queue");
pub(super) const TP_CONSUME: Hook = tp("tp_consume_skb", "consume_skb");
pub(super) const TP_KFREE: Hook = tp("tp_kfree_skb", "kfree_skb");
pub(super) const TP_SEND_RESET: Hook = tp("tp_tcp_send_reset", "tcp_send_reset");
pub(super) const SYN_TRACEPOINTS: &[Hook] =
    &[TP_SET_STATE, TP_RECEIVE, TP_QUEUE, TP_CONSUME, TP_KFREE];
pub(super) const ACK_TRACEPOINTS: &[Hook] =
    &[TP_SET_STATE, TP_RECEIVE, TP_CONSUME, TP_KFREE, TP_SEND_RESET];
