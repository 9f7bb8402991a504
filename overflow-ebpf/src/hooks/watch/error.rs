//! An ICMP error that ends a request (`tcp_req_err`): `tcp_listendrop` counts it as a drop, which the
//! next SYN of this CPU is not to be blamed for.

use super::{super::ended, Listener, On};
use crate::{read::Probed, watch::Watch};

/// Entered; `sk` is the request, which is gone at the end. `seq` and `abort`: see
/// [`ended::icmp_error`].
#[inline(always)]
pub fn begins<M: On>(sk: u64, seq: u32, abort: u8) {
    if let Some(watch) = Watch::get() {
        watch.errored = Listener::net::<M>(sk);
    }
    ended::icmp_error(sk, seq, abort, M::RUNG);
}

/// Left.
#[inline(always)]
pub fn is_over() {
    if let Some(watch) = Watch::get() {
        let net = watch.errored;
        watch.errored = 0;
        if net != 0 {
            watch.counted::<Probed>(net);
        }
    }
}
