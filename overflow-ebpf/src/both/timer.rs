//! The request's timer: what `reqsk_timer_handler` (net/ipv4/inet_connection_sock.c) has removed
//! expired, or its listener went away; or, since v5.14, another of its `SO_REUSEPORT` group has it.
//!
//! # Minimum kernel version
//! fexit and kprobe: 5.10.

use aya_ebpf::{
    btf_maps::PerCpuArray,
    macros::{btf_map, fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use overflow_common::{Kind, Path, RawEvent, Rung};

use super::retransmit::RESENT;
use crate::{
    globals::{REQ_LISTENER, REQ_TIMER, SOCK_NODE_PPREV, STATE_LISTEN},
    read::{self, Probed},
    report, sock,
};

/// The timer whose handler runs on this CPU, for the kretprobe at its end.
#[btf_map]
pub static TIMERS: PerCpuArray<u64, 1> = PerCpuArray::new();

/// `timer` is `&req->rsk_timer`. A request that the handler has just dropped is no longer in the
/// ehash table: its node's `pprev` is NULL. Its memory is still a request (SLAB_TYPESAFE_BY_RCU).
fn timer_done(timer: u64, rung: Rung) {
    let place = REQ_TIMER.load();
    if !place.exists() {
        return;
    }
    let req = timer - place.offset();
    if read::field(req, &SOCK_NODE_PPREV) == Some(0) {
        let listener = read::field(req, &REQ_LISTENER).unwrap_or(0);
        let heir = heir(req, listener);
        if heir == 0 {
            report::request(listener, req, Kind::RequestRemoved, rung, Path::REQSK_TIMER);
        } else {
            let moved = Path::REQSK_TIMER | Path::REQSK_HASHED;
            report::request(heir, req, Kind::RequestRemoved, rung, moved);
        }
    }
}

/// The listener that has taken over `req`, of a listener that is closed; 0 if none has. The handler
/// sends the SYN-ACK of its clone (`inet_reqsk_clone`) just before it puts that in the place of
/// `req` in the table.
#[inline(always)]
fn heir(req: u64, listener: u64) -> u64 {
    let Some([heir, clone]) = RESENT.get(0).copied() else { return 0 };
    if clone == 0 || clone == req || heir == listener || listener == 0 {
        return 0;
    }
    let (mut old, mut new) = (RawEvent::EMPTY, RawEvent::EMPTY);
    if sock::tuple(req, &mut old).is_none() || sock::tuple(clone, &mut new).is_none() {
        return 0;
    }
    let listen = STATE_LISTEN.load();
    let same = old.client_port == new.client_port
        && old.server_port == new.server_port
        && old.netns == new.netns
        && words(&old.client) == words(&new.client);
    if same && sock::state::<Probed>(listener) != listen && sock::state::<Probed>(heir) == listen {
        heir
    } else {
        0
    }
}

/// An address by words, which verifiers compare at once.
#[inline(always)]
fn words(address: &[u8; 16]) -> u128 {
    u128::from_ne_bytes(*address)
}

/// (timer) since v4.15.
#[fexit(function = "reqsk_timer_handler")]
pub fn fexit_reqsk_timer_handler(ctx: FExitContext) -> u32 {
    timer_done(ctx.arg(0), Rung::Fentry);
    0
}

/// A kretprobe has no arguments: the timer is kept for it. Timers run one after the other on
/// their CPU.
#[kprobe]
pub fn kprobe_reqsk_timer_handler(ctx: ProbeContext) -> u32 {
    if let Some(timer) = ctx.arg::<u64>(0) {
        let _ = TIMERS.set(0, timer, 0);
    }
    0
}

#[kretprobe]
pub fn kretprobe_reqsk_timer_handler(_ctx: RetProbeContext) -> u32 {
    if let Some(timer) = TIMERS.get(0).copied()
        && timer != 0
    {
        timer_done(timer, Rung::Kprobe);
    }
    0
}
