//! The application's `accept()`: `inet_csk_accept` (net/ipv4/inet_connection_sock.c) returns the
//! child that leaves the accept queue.
//!
//! A kretprobe there would miss some: each call that waits for a connection holds one of its
//! instances, of which there are twice as many as CPUs. The kprobe rung looks at `sock_graft` instead,
//! which `inet_accept` calls at the end, by the security hook in it.
//!
//! # Minimum kernel version
//! fexit and kprobe: 5.10.

use aya_ebpf::{
    EbpfContext,
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use overflow_common::{Kind, Rung};

use crate::{
    globals::{ACCEPT_RETURN, MSK_FIRST, QUIET, SOCK_PROTOCOL},
    read, report, sock, tally,
};

/// Of include/uapi/linux/in.h.
const IPPROTO_TCP: u64 = 6;
const IPPROTO_MPTCP: u64 = 262;

/// `listener` is 0 where the rung does not know it.
fn accepted(child: u64, listener: u64, rung: Rung) {
    if child == 0 {
        return;
    }
    let listener = tally::accepted(child, listener);
    if QUIET.load() == 0 {
        report::child(child, sock::state(child), listener, Kind::Accept, rung, 0);
    }
}

/// (sk, flags, err, kern) up to v6.9, (sk, proto_accept_arg *) since v6.10.
#[fexit(function = "inet_csk_accept")]
pub fn fexit_inet_csk_accept(ctx: FExitContext) -> u32 {
    let slot = ACCEPT_RETURN.load();
    if slot.exists() {
        let child = read::slot(ctx.as_ptr(), slot, 0);
        accepted(child, ctx.arg(0), Rung::Fentry);
    }
    0
}

/// (sk, parent), of any protocol. Of an MPTCP connection the child is the first subflow.
#[kprobe]
pub fn kprobe_security_sock_graft(ctx: ProbeContext) -> u32 {
    if let Some(sk) = ctx.arg(0) {
        let child = match read::field(sk, &SOCK_PROTOCOL) {
            Some(IPPROTO_TCP) => sk,
            Some(IPPROTO_MPTCP) => read::field(sk, &MSK_FIRST).unwrap_or(0),
            _ => 0,
        };
        accepted(child, 0, Rung::Kprobe);
    }
    0
}

/// Where the kernel was built without the hook.
#[kretprobe]
pub fn kretprobe_inet_csk_accept(ctx: RetProbeContext) -> u32 {
    accepted(ctx.ret(), 0, Rung::Kprobe);
    0
}
