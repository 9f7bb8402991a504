//! An ICMP error that ends a request (`tcp_req_err`): `tcp_listendrop` counts it as a drop, which
//! the next SYN of this CPU is not to be blamed for.

use super::{listener::Listener, mode::AttachMode, state::CpuState};
use crate::{counters::Counters, read::Probed, report};

/// Entered; `sk` is the request, which is gone at the end. `seq` and `abort`: see
/// [`report::icmp_error`].
#[inline(always)]
pub fn begins<M: AttachMode>(sk: u64, seq: u32, abort: u8) {
    if let Some(state) = CpuState::get() {
        state.errored = Listener::net::<M>(sk);
    }
    report::icmp_error(sk, seq, abort, M::RUNG);
}

/// Left.
#[inline(always)]
pub fn is_over() {
    if let Some(state) = CpuState::get() {
        let net = state.errored;
        state.errored = 0;
        if net != 0
            && let Some(counters) = Counters::get()
        {
            counters.rose::<Probed>(net);
        }
    }
}
