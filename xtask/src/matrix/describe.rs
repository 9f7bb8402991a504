//! Why kernels differ and what rungs do not see; each claim with the commit or the function that makes it true.

use super::Tracing;

const QUEUE_LIMIT: &str = "`inet_csk_reqsk_queue_is_full` compares the number of requests with the \
    backlog by `>=` before 3479c7549fb1 and by `>` since (v6.13; also 6.12.10, 6.1.125, 5.15.177, \
    5.10.234, 5.4.290): the SYN queue takes one request more.";

/// Scenarios whose outcome is not the same on all kernels.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "accept-queue-full",
        "Only the client's schedule: since ccce324dabfe (v6.5, `tcp_syn_linear_timeouts`) it sends \
         its first SYNs again every second instead of after 1, 3, 7 s, so that more of them are \
         dropped in the same time.",
    ),
    ("syn-queue-full", QUEUE_LIMIT),
    ("backlog-0", QUEUE_LIMIT),
    ("phantom-with-data", QUEUE_LIMIT),
    ("phantom-revived", QUEUE_LIMIT),
    (
        "inexact-reset",
        "Since a28c4fcbf774 `tcp_check_req` answers a RST that is in the window but not at its edge \
         by a challenge ACK (`tcp_reqsk_send_challenge_ack`, RFC 5961); before, the request was \
         dropped. It is of 2026 and in stable releases too, so the version tells little.",
    ),
    (
        "reuseport-migration",
        "Requests move to another listener since v5.14 (`reuseport_migrate_sock`, with the sysctl \
         `net.ipv4.tcp_migrate_req`, f9ac779f881c). Debian's 5.10 has the sysctl but not the \
         function: there the requests of a closed listener die with it.",
    ),
    (
        "reuseport-migration-at-timer",
        "As `reuseport-migration`: the timer moves a request by the same function.",
    ),
];

/// Parts of the reasons for which a scenario may be unavailable.
const UNAVAILABLE: &[&str] = &[
    "does not exist in a network namespace",
    "no hook in use shows",
    "nothing traces the kernel, and it is about paths that",
];

/// The hooks that every rung has in common.
pub const ALWAYS_TRACEPOINTS: &[&str] =
    &["tp_btf:tcp_retransmit_synack", "tp_btf:tcp_receive_reset"];

/// Why kernels differ on a scenario, if it is known.
pub fn difference(scenario: &str) -> Option<&'static str> {
    DIFFERENCES.iter().find(|(name, _)| *name == scenario).map(|(_, why)| *why)
}

/// Whether a reason why a scenario cannot run is one that is accepted.
pub fn may_be_unavailable(why: &str) -> bool {
    UNAVAILABLE.iter().any(|part| why.contains(part))
}

/// What a rung does not see, on any kernel.
pub fn rung(rung: Tracing) -> &'static str {
    match rung {
        Tracing::Fentry => "Sees every branch.",
        Tracing::Kprobe => "Sees every branch, at a higher price for each call.",
        Tracing::Old => {
            "kprobe as on 5.4, with what 5.5 to 5.8 brought withheld: records leave by a queue instead \
             of a ring buffer, and two functions stand in for two BTF tracepoints."
        }
        Tracing::Untraced => {
            "Nothing traces: verdicts are inferred from packets, counters and sockets, or it is said \
             that they cannot be. A scenario holds if none that was inferred is wrong."
        }
        Tracing::Tracepoint => {
            "Sees no branch but what happens around it. No tracepoint tells of `accept()` or of a \
             request's end, so `later.accepted_by_app`, `later.request_expired` and \
             `later.request_orphaned` are missing, and what ends in `later.request_icmp_error` or \
             `later.request_destroyed` cannot be shown. Drops and resets other than those of an \
             overflow are `ack.drop.other` and `ack.reset.other` where the kernel's reasons do not \
             tell them apart: `kfree_skb` has reasons since v5.17 (c504e5c2f964), `tcp_send_reset` \
             since v6.10 (5691276b39da)."
        }
    }
}
