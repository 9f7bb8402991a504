//! An ICMP error that ends a request (`tcp_req_err`): `tcp_listendrop` counts it as a drop, which
//! the next SYN of this CPU is not to be blamed for.

use overflow_common::Path;

use super::{listener::Listener, mode::AttachMode, state::CpuState};
use crate::{arm, audit, counters::Counters, globals::NET_INUM, read, read::Probed, report};

/// Entered; `sk` is the request, which is gone at the end. `seq` and `abort`: see
/// [`report::icmp_error`].
#[inline(always)]
pub fn begins<M: AttachMode>(sk: u64, seq: u32, abort: u8) {
    let Some(state) = CpuState::get() else { return };
    state.errored = Listener::net::<M>(sk);
    state.error_reported = u64::from(report::icmp_error(sk, seq, abort, M::RUNG));
}

/// Left.
#[inline(always)]
pub fn is_over() {
    let _ = counted();
}

#[inline(always)]
fn counted() -> Option<()> {
    let state = CpuState::get()?;
    let net = state.errored;
    state.errored = 0;
    if net == 0 {
        return None;
    }
    let rise = Counters::get()?.rose::<Probed>(net);
    if !arm::armed() || !rise.any() {
        return None;
    }
    let netns = read::field(net, &NET_INUM)? as u32;
    audit::unseen(netns, rise, Path::COUNTED_DROP);
    if state.error_reported == 0 {
        audit::filtered(netns, Path::COUNTED_DROP);
    }
    Some(())
}
