//! The child socket: `tcp_v4_syn_recv_sock` (net/ipv4/tcp_ipv4.c) returns NULL when the accept
//! queue is full or the child could not be made; `inet_csk_reqsk_queue_add` puts it into the queue.
//!
//! # Minimum kernel version
//! fexit: 5.10; with seven arguments (commit 858d2a4f67ff and its backports) the kernel's BPF
//! trampolines must take more than six (commit 473e3150e30a, 6.5); before, the kretprobe stands in.

use aya_ebpf::{
    EbpfContext,
    macros::{fexit, kretprobe},
    programs::{FExitContext, RetProbeContext},
};
use overflow_common::Path;

use crate::{
    globals::{QUEUE_ADD_RETURN, SYN_RECV_SOCK_RETURN},
    read,
    state::PathState,
};

/// A v4-mapped connection goes through `tcp_v6_syn_recv_sock`, which calls the v4 function: both
/// report, with the same result, and set the same bit.
fn syn_recv_sock(returned: u64) {
    PathState::pass(if returned == 0 {
        Path::SYN_RECV_SOCK_NULL
    } else {
        Path::SYN_RECV_SOCK_CHILD
    });
}

/// Where the compiler has put it into `inet_csk_complete_hashdance`, of the same file (Debian's
/// 6.12.117), only the cookie path still calls it.
fn queue_add(returned: u64) {
    PathState::pass(if returned == 0 { Path::QUEUE_ADD_NULL } else { Path::QUEUE_ADD });
}

#[fexit(function = "tcp_v4_syn_recv_sock")]
pub fn fexit_tcp_v4_syn_recv_sock(ctx: FExitContext) -> u32 {
    let slot = SYN_RECV_SOCK_RETURN.load();
    if slot.exists() {
        let returned = read::slot(ctx.as_ptr(), slot, 0);
        syn_recv_sock(returned);
    }
    0
}

#[fexit(function = "tcp_v6_syn_recv_sock")]
pub fn fexit_tcp_v6_syn_recv_sock(ctx: FExitContext) -> u32 {
    let slot = SYN_RECV_SOCK_RETURN.load();
    if slot.exists() {
        let returned = read::slot(ctx.as_ptr(), slot, 0);
        syn_recv_sock(returned);
    }
    0
}

/// (sk, req, child): the child, or NULL if the listener is no longer listening (v5.0, commit
/// 9d3e1368bb45).
#[fexit(function = "inet_csk_reqsk_queue_add")]
pub fn fexit_reqsk_queue_add(ctx: FExitContext) -> u32 {
    let slot = QUEUE_ADD_RETURN.load();
    if slot.exists() {
        let returned = read::slot(ctx.as_ptr(), slot, 0);
        queue_add(returned);
    }
    0
}

/// For both families.
#[kretprobe]
pub fn kretprobe_syn_recv_sock(ctx: RetProbeContext) -> u32 {
    syn_recv_sock(ctx.ret());
    0
}

#[kretprobe]
pub fn kretprobe_reqsk_queue_add(ctx: RetProbeContext) -> u32 {
    queue_add(ctx.ret());
    0
}
