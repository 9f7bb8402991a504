//! The ladder: for every hook point the rungs it can be traced by, best first, as data.

use overflow_common::Rung;
use overflow_core::hook_point::HookPoint;

/// How much of a handshake is traced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Every handshake, every hook point.
    #[default]
    Everything,
    /// The same, where healthy handshakes are only counted: of a SYN nothing is read before its end.
    Counts,
    /// Only what the queues did to SYNs and third ACKs, and what becomes of those connections. A
    /// healthy handshake passes two hooks, and reports nothing.
    Overflows,
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attach {
    /// BPF trampoline at a function's entry.
    Fentry,
    /// BPF trampoline at a function's exit.
    Fexit,
    /// kprobe at a function's entry.
    Kprobe,
    /// kretprobe at a function's exit.
    Kretprobe,
    /// BTF-typed raw tracepoint.
    TpBtf,
}

/// One program and the place it goes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hook {
    /// The program's name in the eBPF object.
    pub program: &'static str,
    /// How.
    pub attach: Attach,
    /// The kernel function or tracepoint.
    pub target: &'static str,
    /// Whether the hook point is traced without it: what exists only for IPv6.
    pub optional: bool,
    /// What stand in for it if it is refused, without giving up the rung for the rest.
    pub stand_ins: &'static [Hook],
}

/// One way to trace a hook point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// Its rung.
    pub rung: Rung,
    /// All of its programs.
    pub hooks: &'static [Hook],
    /// What it cannot see, for doctor and reports; empty if nothing.
    pub blind: &'static str,
}

/// What became of one program.
#[derive(Clone, Debug)]
pub struct HookStatus {
    /// `fentry:tcp_check_req`, `tp_btf:kfree_skb`.
    pub name: String,
    /// Why it is not attached, or `None` if it is.
    pub refused: Option<String>,
    /// Whether another hook stands in for it.
    pub replaced: bool,
}

/// What became of one hook point.
#[derive(Clone, Debug)]
pub struct HookPointStatus {
    /// The hook point.
    pub hook_point: HookPoint,
    /// The rung it is traced by; `None` if no rung works.
    pub rung: Option<Rung>,
    /// What that rung cannot see.
    pub blind: &'static str,
    /// Its programs.
    pub hooks: Vec<HookStatus>,
    /// The better rungs, and the first refusal on each.
    pub refused: Vec<(Rung, String)>,
}

impl Attach {
    /// The kind's name in output.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
            Self::TpBtf => "tp_btf",
        }
    }
}

impl Hook {
    /// `kind:target`.
    pub(crate) fn name(&self) -> String {
        format!("{}:{}", self.attach.as_str(), self.target)
    }
}

/// Whether a hook point is traced by its best step whichever rung is asked for: where a tracepoint shows
/// all of it, there is nothing that a better rung would add.
pub(super) fn is_common(ladder: &[Step]) -> bool {
    ladder.first().is_some_and(|step| step.rung == Rung::Tracepoint)
}

/// The rungs a hook point can be traced by, best first; none if it is not in `scope`.
pub(super) const fn ladder(hook_point: HookPoint, scope: Scope) -> &'static [Step] {
    match (hook_point, scope) {
        (HookPoint::Syn, Scope::Everything) => SYN,
        (HookPoint::Syn, Scope::Counts) => COUNTS_SYN,
        (HookPoint::Syn, Scope::Overflows) => DROPS_SYN,
        (HookPoint::ThirdAck, Scope::Everything | Scope::Counts) => THIRD_ACK,
        (HookPoint::ThirdAck, Scope::Overflows) => DROPS_THIRD_ACK,
        (HookPoint::Reset, Scope::Everything | Scope::Counts) => RESET,
        (HookPoint::Reset, Scope::Overflows) => DROPS_RESET,
        (HookPoint::SynAckRetransmit, _) => SYN_ACK_RETRANSMIT,
        (HookPoint::RequestRemoved, Scope::Everything | Scope::Counts) => REQUEST_REMOVED,
        (HookPoint::RequestRemoved, Scope::Overflows) => DROPS_REQUEST_REMOVED,
        (HookPoint::ListenerClose, _) => LISTENER_CLOSE,
        (HookPoint::Accept, Scope::Everything | Scope::Counts) => ACCEPT,
        (HookPoint::PeerReset, Scope::Everything | Scope::Counts) => PEER_RESET,
        (HookPoint::Accept | HookPoint::PeerReset, Scope::Overflows) => &[],
    }
}

const SYN: &[Step] = &[
    Step { rung: Rung::Fentry, hooks: SYN_FENTRY, blind: "" },
    Step { rung: Rung::Kprobe, hooks: SYN_KPROBE, blind: "" },
    SYN_BY_TRACEPOINTS,
];
const COUNTS_SYN: &[Step] = &[
    Step { rung: Rung::Fentry, hooks: COUNTS_SYN_FENTRY, blind: "" },
    Step { rung: Rung::Kprobe, hooks: SYN_KPROBE, blind: "" },
    SYN_BY_TRACEPOINTS,
];
const THIRD_ACK: &[Step] = &[
    Step { rung: Rung::Fentry, hooks: ACK_FENTRY, blind: "" },
    Step { rung: Rung::Kprobe, hooks: ACK_KPROBE, blind: "" },
    ACK_BY_TRACEPOINTS,
];
const RESET: &[Step] = &[
    Step { rung: Rung::Fentry, hooks: RESET_FENTRY, blind: "" },
    Step { rung: Rung::Kprobe, hooks: RESET_KPROBE, blind: "" },
    RESET_BY_TRACEPOINT,
];
/// The tracepoint is better than the function, for it is at the very place; but programs have its types
/// only since v5.5 (ac4414b5ca47), where the kernel has BTF.
const SYN_ACK_RETRANSMIT: &[Step] = &[
    Step {
        rung: Rung::Tracepoint,
        hooks: &[tp("tp_tcp_retransmit_synack", "tcp_retransmit_synack")],
        blind: "",
    },
    Step {
        rung: Rung::Kprobe,
        hooks: &[
            kprobe("kprobe_tcp_rtx_synack", "tcp_rtx_synack"),
            kretprobe("kretprobe_tcp_rtx_synack", "tcp_rtx_synack"),
        ],
        blind: "",
    },
];
const PEER_RESET: &[Step] = &[
    Step {
        rung: Rung::Tracepoint,
        hooks: &[tp("tp_tcp_receive_reset", "tcp_receive_reset")],
        blind: "",
    },
    Step { rung: Rung::Kprobe, hooks: &[kprobe("kprobe_tcp_reset", "tcp_reset")], blind: "" },
];
const REQUEST_REMOVED: &[Step] = &[
    Step { rung: Rung::Fentry, hooks: REQUEST_FENTRY, blind: "" },
    Step { rung: Rung::Kprobe, hooks: REQUEST_KPROBE, blind: "" },
];
const LISTENER_CLOSE: &[Step] = &[
    Step {
        rung: Rung::Fentry,
        hooks: &[
            fentry("fentry_tcp_send_active_reset", "tcp_send_active_reset"),
            extra(fentry("fentry_inet_csk_listen_stop", "inet_csk_listen_stop")),
        ],
        blind: "",
    },
    Step {
        rung: Rung::Kprobe,
        hooks: &[
            kprobe("kprobe_tcp_send_active_reset", "tcp_send_active_reset"),
            extra(kprobe("kprobe_inet_csk_listen_stop", "inet_csk_listen_stop")),
        ],
        blind: "",
    },
    Step { rung: Rung::Tracepoint, hooks: &[TP_SEND_RESET], blind: "" },
];
const ACCEPT: &[Step] = &[
    Step {
        rung: Rung::Fentry,
        hooks: &[
            fexit("fexit_inet_csk_accept", "inet_csk_accept"),
            extra(fentry("fentry_security_sock_graft", "security_sock_graft")),
        ],
        blind: "",
    },
    Step {
        rung: Rung::Kprobe,
        hooks: &[or(kprobe("kprobe_security_sock_graft", "security_sock_graft"), ACCEPT_RETURN)],
        blind: "",
    },
];

/// Calls that wait for a connection hold an instance each, so it misses some where many wait; the entry
/// is looked at to count them.
const ACCEPT_RETURN: &[Hook] = &[
    kretprobe("kretprobe_inet_csk_accept", "inet_csk_accept"),
    kprobe("kprobe_inet_csk_accept", "inet_csk_accept"),
];

const DROPS_SYN: &[Step] = &[
    Step { rung: Rung::Fentry, hooks: DROPS_SYN_FENTRY, blind: "" },
    Step { rung: Rung::Kprobe, hooks: DROPS_SYN_KPROBE, blind: "" },
    SYN_BY_TRACEPOINTS,
];
const DROPS_THIRD_ACK: &[Step] = &[
    Step { rung: Rung::Fentry, hooks: DROPS_ACK_FENTRY, blind: ACK_EXITS },
    Step { rung: Rung::Kprobe, hooks: DROPS_ACK_KPROBE, blind: ACK_EXITS },
    ACK_BY_TRACEPOINTS,
];
const DROPS_RESET: &[Step] = &[
    Step { rung: Rung::Fentry, hooks: DROPS_RESET_FENTRY, blind: "" },
    Step { rung: Rung::Kprobe, hooks: DROPS_RESET_KPROBE, blind: "" },
    RESET_BY_TRACEPOINT,
];
/// `inet_csk_reqsk_queue_drop` is on every healthy handshake's way; the timer is not.
const DROPS_REQUEST_REMOVED: &[Step] = &[
    Step {
        rung: Rung::Fentry,
        hooks: &[fexit("fexit_reqsk_timer_handler", "reqsk_timer_handler"), ABORT_FENTRY],
        blind: "",
    },
    Step {
        rung: Rung::Kprobe,
        hooks: &[
            kprobe("kprobe_reqsk_timer_handler", "reqsk_timer_handler"),
            kretprobe("kretprobe_reqsk_timer_handler", "reqsk_timer_handler"),
            ABORT_KPROBE,
        ],
        blind: "",
    },
];
const ACK_EXITS: &str = "third ACKs that are ignored for other reasons than a full queue or a \
                         child that cannot be made: they are traced with --all";
const SYN_BY_TRACEPOINTS: Step = Step {
    rung: Rung::Tracepoint,
    hooks: SYN_TRACEPOINTS,
    blind: "the branch: why a SYN was dropped is inferred from the queues at that time",
};
const ACK_BY_TRACEPOINTS: Step = Step {
    rung: Rung::Tracepoint,
    hooks: ACK_TRACEPOINTS,
    blind: "return values: which path accepted is inferred from the SYN's stage",
};
const RESET_BY_TRACEPOINT: Step =
    Step { rung: Rung::Tracepoint, hooks: &[TP_SEND_RESET], blind: "" };

const fn hook(program: &'static str, attach: Attach, target: &'static str) -> Hook {
    Hook { program, attach, target, optional: false, stand_ins: &[] }
}
const fn fentry(program: &'static str, target: &'static str) -> Hook {
    hook(program, Attach::Fentry, target)
}
const fn fexit(program: &'static str, target: &'static str) -> Hook {
    hook(program, Attach::Fexit, target)
}
const fn kprobe(program: &'static str, target: &'static str) -> Hook {
    hook(program, Attach::Kprobe, target)
}
const fn kretprobe(program: &'static str, target: &'static str) -> Hook {
    hook(program, Attach::Kretprobe, target)
}
const fn tp(program: &'static str, target: &'static str) -> Hook {
    hook(program, Attach::TpBtf, target)
}
/// IPv6's twin of a function: absent when the kernel has no IPv6 or has it as a module.
const fn v6(hook: Hook) -> Hook {
    extra(hook)
}
/// MPTCP's twin of a function: absent when the kernel has no MPTCP.
const fn mptcp(hook: Hook) -> Hook {
    extra(hook)
}
/// What the hook point is traced without, too.
const fn extra(hook: Hook) -> Hook {
    Hook { optional: true, ..hook }
}

const fn or(hook: Hook, stand_ins: &'static [Hook]) -> Hook {
    Hook { stand_ins, ..hook }
}

const SYN_FENTRY: &[Hook] = &[
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
const COUNTS_SYN_FENTRY: &[Hook] = &[
    fexit("fexit_tcp_v4_conn_request", "tcp_v4_conn_request"),
    v6(fexit("fexit_tcp_v6_conn_request", "tcp_v6_conn_request")),
    mptcp(fexit("fexit_subflow_v4_conn_request", "subflow_v4_conn_request")),
    mptcp(fexit("fexit_subflow_v6_conn_request", "subflow_v6_conn_request")),
    fentry("fentry_reqsk_queue_hash_add", "inet_csk_reqsk_queue_hash_add"),
    fentry("fentry_cookie_v4_init_sequence", "cookie_v4_init_sequence"),
    v6(fentry("fentry_cookie_v6_init_sequence", "cookie_v6_init_sequence")),
    fentry("fentry_inet_csk_listen_start", "inet_csk_listen_start"),
];
const ACK_FENTRY: &[Hook] = &[
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
const V4_SYN_RECV_SOCK: Hook = kretprobe("kretprobe_syn_recv_sock", "tcp_v4_syn_recv_sock");
const V6_SYN_RECV_SOCK: Hook = kretprobe("kretprobe_syn_recv_sock", "tcp_v6_syn_recv_sock");
const SYN_KPROBE: &[Hook] = &[
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
const ACK_KPROBE: &[Hook] = &[
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
const RESET_KPROBE: &[Hook] = &[
    kprobe("kprobe_send_reset", "tcp_v4_send_reset"),
    v6(kprobe("kprobe_send_reset", "tcp_v6_send_reset")),
];
const REQUEST_KPROBE: &[Hook] = &[
    kprobe("kprobe_reqsk_queue_drop", "inet_csk_reqsk_queue_drop"),
    kprobe("kprobe_reqsk_timer_handler", "reqsk_timer_handler"),
    kretprobe("kretprobe_reqsk_timer_handler", "reqsk_timer_handler"),
    extra(kprobe("kprobe_tcp_req_err", "tcp_req_err")),
    extra(kretprobe("kretprobe_tcp_req_err", "tcp_req_err")),
    ABORT_KPROBE,
];
const RESET_FENTRY: &[Hook] = &[
    fentry("fentry_tcp_v4_send_reset", "tcp_v4_send_reset"),
    v6(fentry("fentry_tcp_v6_send_reset", "tcp_v6_send_reset")),
];
const REQUEST_FENTRY: &[Hook] = &[
    fentry("fentry_reqsk_queue_drop", "inet_csk_reqsk_queue_drop"),
    fexit("fexit_reqsk_timer_handler", "reqsk_timer_handler"),
    extra(fentry("fentry_tcp_req_err", "tcp_req_err")),
    extra(fexit("fexit_tcp_req_err", "tcp_req_err")),
    ABORT_FENTRY,
];
/// Extra: how a request expires is seen without it.
const ABORT_FENTRY: Hook = extra(fentry("fentry_tcp_abort", "tcp_abort"));
const ABORT_KPROBE: Hook = extra(kprobe("kprobe_tcp_abort", "tcp_abort"));
const DROPS_SYN_FENTRY: &[Hook] = &[
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
const DROPS_ACK_FENTRY: &[Hook] = &[
    fexit("drops_tcp_v4_syn_recv_sock", "tcp_v4_syn_recv_sock"),
    v6(fexit("drops_tcp_v6_syn_recv_sock", "tcp_v6_syn_recv_sock")),
    // A refused ACK's record waits for its RST.
    DROPS_V4_SEND_RESET,
    DROPS_V6_SEND_RESET,
];
const DROPS_RESET_FENTRY: &[Hook] = &[DROPS_V4_SEND_RESET, DROPS_V6_SEND_RESET];
const DROPS_V4_SEND_RESET: Hook = fentry("drops_tcp_v4_send_reset", "tcp_v4_send_reset");
const DROPS_V6_SEND_RESET: Hook = v6(fentry("drops_tcp_v6_send_reset", "tcp_v6_send_reset"));
const DROPS_SYN_KPROBE: &[Hook] = &[
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
const DROPS_ACK_KPROBE: &[Hook] = &[
    kprobe("kprobe_drops_syn_recv_sock", "tcp_v4_syn_recv_sock"),
    kretprobe("kretprobe_drops_v4_syn_recv_sock", "tcp_v4_syn_recv_sock"),
    v6(kprobe("kprobe_drops_syn_recv_sock", "tcp_v6_syn_recv_sock")),
    v6(kretprobe("kretprobe_drops_v6_syn_recv_sock", "tcp_v6_syn_recv_sock")),
    DROPS_V4_SEND_RESET_KPROBE,
    DROPS_V6_SEND_RESET_KPROBE,
];
const DROPS_RESET_KPROBE: &[Hook] = &[DROPS_V4_SEND_RESET_KPROBE, DROPS_V6_SEND_RESET_KPROBE];
const DROPS_V4_SEND_RESET_KPROBE: Hook = kprobe("kprobe_drops_send_reset", "tcp_v4_send_reset");
const DROPS_V6_SEND_RESET_KPROBE: Hook = v6(kprobe("kprobe_drops_send_reset", "tcp_v6_send_reset"));
const TP_SET_STATE: Hook = tp("tp_inet_sock_set_state", "inet_sock_set_state");
const TP_RECEIVE: Hook = tp("tp_netif_receive_skb", "netif_receive_skb");
const TP_QUEUE: Hook = tp("tp_net_dev_queue", "net_dev_queue");
const TP_CONSUME: Hook = tp("tp_consume_skb", "consume_skb");
const TP_KFREE: Hook = tp("tp_kfree_skb", "kfree_skb");
const TP_SEND_RESET: Hook = tp("tp_tcp_send_reset", "tcp_send_reset");
const SYN_TRACEPOINTS: &[Hook] = &[TP_SET_STATE, TP_RECEIVE, TP_QUEUE, TP_CONSUME, TP_KFREE];
const ACK_TRACEPOINTS: &[Hook] = &[TP_SET_STATE, TP_RECEIVE, TP_CONSUME, TP_KFREE, TP_SEND_RESET];

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn rungs_go_from_best_to_worst_and_the_last_needs_only_tracepoints_or_is_alone() {
        for hook_point in HookPoint::ALL {
            assert!(!ladder(*hook_point, Scope::Everything).is_empty());
            for scope in [Scope::Everything, Scope::Counts, Scope::Overflows] {
                let ladder = ladder(*hook_point, scope);
                let sorted = ladder.windows(2).all(|w| w[0].rung < w[1].rung);
                assert!(sorted || is_common(ladder), "{hook_point:?}");
                assert!(ladder.iter().all(|step| step.hooks.iter().any(|h| !h.optional)));
            }
        }
    }
    /// A program that is named here and does not exist would show only where it is attached.
    #[test]
    fn every_program_is_in_the_ebpf_crate() {
        let sources =
            sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../overflow-ebpf/src")));
        let exists = |hook: &Hook| sources.contains(&format!("fn {}(", hook.program));
        for hook_point in HookPoint::ALL {
            for scope in [Scope::Everything, Scope::Counts, Scope::Overflows] {
                for hook in ladder(*hook_point, scope).iter().flat_map(|step| step.hooks) {
                    assert!(exists(hook), "{}", hook.program);
                    assert!(hook.stand_ins.iter().all(exists), "stand-ins of {}", hook.program);
                }
            }
        }
    }

    fn sources(dir: &Path) -> String {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries
            .map(|p| if p.is_dir() { sources(&p) } else { fs::read_to_string(p).unwrap() })
            .collect()
    }
}
