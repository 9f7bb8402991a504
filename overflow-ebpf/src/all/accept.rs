//! The application's `accept()`: `inet_csk_accept` (net/ipv4/inet_connection_sock.c) returns the
//! child that leaves the accept queue.
//!
//! A kretprobe there misses some: each call that waits for a connection holds one of its instances,
//! of which there are not many more than CPUs. The kprobe rung looks at `sock_graft` instead, which
//! `inet_accept` calls at the end, by the security hook in it; where the kernel was built without that
//! hook, a kretprobe stands in, and what it misses is counted.
//!
//! # Minimum kernel version
//! fexit and kprobe: 5.10.

use aya_ebpf::{
    EbpfContext,
    btf_maps::LruHashMap,
    helpers::bpf_get_current_pid_tgid,
    macros::{btf_map, fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use overflow_common::{Kind, Loss, Rung};

use crate::{
    globals::{ACCEPT_RETURN, MSK_FIRST, QUIET, SOCK_PROTOCOL},
    losses,
    read::{self, Memory, Probed, Typed},
    report as records, sock, tally,
};

/// Of include/uapi/linux/in.h.
const IPPROTO_TCP: u64 = 6;
const IPPROTO_MPTCP: u64 = 262;

/// Where the rung does not know the listener.
fn accepted(child: u64, rung: Rung) {
    if child != 0 {
        let listener = tally::accepted(child);
        report(child, listener, rung);
    }
}

#[inline(always)]
fn report(child: u64, listener: u64, rung: Rung) {
    if QUIET.load() == 0 {
        records::child(child, sock::state::<Probed>(child), listener, Kind::Accept, rung, 0);
    }
}

/// (sk, flags, err, kern) up to v6.9, (sk, proto_accept_arg *) since v6.10.
#[fexit(function = "inet_csk_accept")]
pub fn fexit_inet_csk_accept(ctx: FExitContext) -> u32 {
    let slot = ACCEPT_RETURN.load();
    if slot.exists() {
        let child = read::slot(ctx.as_ptr(), slot, 0);
        if child != 0 {
            tally::accepted_of::<Typed>(child, ctx.arg(0));
            report(child, ctx.arg(0), Rung::Fentry);
        }
    }
    0
}

/// The child that a socket is grafted on, of any protocol; 0 if it is not TCP. Of an MPTCP connection it
/// is the first subflow.
#[inline(always)]
fn grafted<M: Memory>(sk: u64) -> u64 {
    match M::field(sk, &SOCK_PROTOCOL) {
        Some(IPPROTO_TCP) => sk,
        Some(IPPROTO_MPTCP) => read::field(sk, &MSK_FIRST).unwrap_or(0),
        _ => 0,
    }
}

/// (sk, parent). A call that waited for a connection when the hook at its end was attached does not
/// pass that one: what it took still waits, as far as is known here.
#[fentry(function = "security_sock_graft")]
pub fn fentry_security_sock_graft(ctx: FEntryContext) -> u32 {
    let child = grafted::<Typed>(ctx.arg(0));
    if child != 0 {
        let listener = tally::accepted(child);
        if listener != 0 {
            report(child, listener, Rung::Fentry);
        }
    }
    0
}

/// (sk, parent).
#[kprobe]
pub fn kprobe_security_sock_graft(ctx: ProbeContext) -> u32 {
    if let Some(sk) = ctx.arg(0) {
        accepted(grafted::<Probed>(sk), Rung::Kprobe);
    }
    0
}

/// Threads that are in `inet_csk_accept`, where its return is looked at.
#[btf_map]
pub static ACCEPTING: LruHashMap<u64, u8, 4096> = LruHashMap::new();

/// One that enters it again has left it unseen.
#[kprobe]
pub fn kprobe_inet_csk_accept(_ctx: ProbeContext) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: only whether it is there counts.
    if unsafe { ACCEPTING.get(thread) }.is_some() {
        losses::count(Loss::PathInterrupted);
    } else if ACCEPTING.insert(thread, 0, 0).is_err() {
        losses::count(Loss::Uncounted);
    }
    0
}

/// Where the kernel was built without the hook.
#[kretprobe]
pub fn kretprobe_inet_csk_accept(ctx: RetProbeContext) -> u32 {
    let _ = ACCEPTING.remove(bpf_get_current_pid_tgid());
    accepted(ctx.ret(), Rung::Kprobe);
    0
}
