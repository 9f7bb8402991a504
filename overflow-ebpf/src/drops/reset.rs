//! An RST answers a segment (`tcp_v4_send_reset`, `tcp_v6_send_reset`).

use overflow_common::{Kind, LeftOut, Path};

use super::{ack::Refused, listener::Listener, mode::AttachMode, state::CpuState};
use crate::{
    audit, emit, filter,
    globals::{NET_ABORT_ON_OVERFLOW, NET_INUM, SOCK_STATE, STATE_LISTEN},
    report,
    skb::{self, At},
    sock,
    state::PathState,
};

/// The segment that just got no child, or any other.
#[inline(always)]
pub fn send_reset<M: AttachMode>(sk: u64, skb: u64, reason: u64) {
    let Some(state) = CpuState::get() else { return };
    if state.reset_due == skb && skb != 0 {
        state.reset_due = 0;
        reset_by_overflow::<M>(sk, skb, reason);
    } else {
        reset_of_other::<M>(sk, skb, reason);
    }
}

/// `tcp_check_req` read the sysctl and resets; `sk` is the listener.
#[inline(never)]
fn reset_by_overflow<M: AttachMode>(sk: u64, skb: u64, reason: u64) -> u32 {
    u32::from(report_reset::<M>(sk, skb, reason).is_some())
}

#[inline(always)]
fn report_reset<M: AttachMode>(sk: u64, skb: u64, reason: u64) -> Option<()> {
    let state = CpuState::get()?;
    let net = Listener::net::<M>(sk);
    let netns = M::exact::<u32>(net, &NET_INUM) as u32;
    let counted = state.refused_counted as u32;
    let refused = Refused {
        listener: Listener::at::<M>(sk, net)?,
        req: state.refused,
        by_request: true,
        abort: M::exact::<u8>(net, &NET_ABORT_ON_OVERFLOW) as u8,
        counted,
    };
    emit::in_place(Kind::Ack, M::RUNG, |event| {
        let wanted = refused.report::<M>(skb, event);
        event.path |= Path::SEND_RESET;
        report::reset_reason(event, reason);
        if !wanted {
            audit::filtered(netns, counted);
            audit::left_out(netns, LeftOut::FilteredReset, 1);
        }
        wanted
    });
    Some(())
}

/// Any other segment: data of a connection that the kernel forgot, say. `sk` is the listener, the
/// socket that the segment belongs to, or 0.
#[inline(never)]
fn reset_of_other<M: AttachMode>(sk: u64, skb: u64, reason: u64) -> u32 {
    u32::from(report_other::<M>(sk, skb, reason).is_some())
}

#[inline(always)]
fn report_other<M: AttachMode>(sk: u64, skb: u64, reason: u64) -> Option<()> {
    let (netns, sk_state) = if sk == 0 {
        (skb::netns(skb)?, 0)
    } else {
        let netns = M::exact::<u32>(Listener::net::<M>(sk), &NET_INUM) as u32;
        (netns, M::exact::<u8>(sk, &SOCK_STATE) as u8)
    };
    // Not in the ring: a scan may cause many that are filtered out, whose places would be lost.
    let scratch = PathState::get()?;
    scratch.reset(Kind::Reset, M::RUNG);
    let event = &mut scratch.event;
    event.path = Path::SEND_RESET;
    event.netns = netns;
    event.sk = sk;
    event.sk_state = sk_state;
    report::reset_reason(event, reason);
    skb::parse_by::<M>(skb, At::NetworkHeader, event)?;
    if sk_state == STATE_LISTEN.load() {
        if !filter::wants_socket(sk, netns) {
            return None;
        }
        event.ino = sock::inode(sk);
    }
    if filter::wants(event.server_port, netns) && filter::wants_segment(event) {
        emit::record(event);
    }
    Some(())
}
