//! `listen()`: `inet_csk_listen_start` (net/ipv4/inet_connection_sock.c), for whose listener it is.
//!
//! # Minimum kernel version
//! fentry and kprobe: 5.10.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};

use crate::openers;

/// (sk, …).
#[fentry(function = "inet_csk_listen_start")]
pub fn fentry_inet_csk_listen_start(ctx: FEntryContext) -> u32 {
    openers::note(ctx.arg(0));
    0
}

#[kprobe]
pub fn kprobe_inet_csk_listen_start(ctx: ProbeContext) -> u32 {
    if let Some(sk) = ctx.arg(0) {
        openers::note(sk);
    }
    0
}
