//! The application's `accept()`: `inet_csk_accept` (net/ipv4/inet_connection_sock.c) returns the
//! child that leaves the accept queue.
//!
//! # Minimum kernel version
//! fexit and kretprobe: 5.10.

use aya_ebpf::{
    EbpfContext,
    macros::{fexit, kretprobe},
    programs::{FExitContext, RetProbeContext},
};
use overflow_common::{Kind, Rung};

use crate::{
    globals::{ACCEPT_RETURN, QUIET},
    read, report, sock, tally,
};

/// `listener` is 0 where the rung does not know it.
fn accepted(child: u64, listener: u64, rung: Rung) {
    if child == 0 {
        return;
    }
    tally::accepted(child, listener);
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

#[kretprobe]
pub fn kretprobe_inet_csk_accept(ctx: RetProbeContext) -> u32 {
    accepted(ctx.ret(), 0, Rung::Kprobe);
    0
}
