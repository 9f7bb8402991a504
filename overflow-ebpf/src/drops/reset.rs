//! An RST answers a segment (`tcp_v4_send_reset`, `tcp_v6_send_reset`).

use overflow_common::{Kind, LeftOut, Loss, Path, RawEvent, segment::RST};

use super::{ack::Refused, listener::Listener, mode::AttachMode, state::CpuState};
use crate::{
    audit,
    emit::{self, Draft},
    filter,
    globals::{NET_ABORT_ON_OVERFLOW, NET_INUM, SOCK_DPORT, SOCK_STATE, STATE_LISTEN},
    losses,
    read::{self, Probed},
    report,
    skb::{self, At},
    sock,
};

/// The segment that just got no child, or any other.
#[inline(always)]
pub fn send_reset<M: AttachMode>(sk: u64, skb: u64, reason: u64) {
    let Some(state) = CpuState::get() else { return };
    if state.reset_due == skb && skb != 0 {
        state.reset_due = 0;
        if reset_by_overflow::<M>(sk, skb, reason) != 0 {
            return;
        }
        // The RST that was to follow did not (the sysctl was changed just then), and this segment
        // stands where that one stood in memory: that third ACK was never reported.
        losses::count(Loss::PathInterrupted);
    }
    if sk == 0 || M::exact::<u8>(sk, &SOCK_STATE) as u8 == STATE_LISTEN.load() {
        reset_of_other::<M>(sk, skb, reason);
    }
}

/// `tcp_check_req` read the sysctl and resets; `sk` is the listener. 0 if it is not the third ACK of
/// the request that got no child.
#[inline(never)]
fn reset_by_overflow<M: AttachMode>(sk: u64, skb: u64, reason: u64) -> u32 {
    u32::from(report_reset::<M>(sk, skb, reason) != Some(false))
}

#[inline(always)]
fn report_reset<M: AttachMode>(sk: u64, skb: u64, reason: u64) -> Option<bool> {
    let state = CpuState::get()?;
    let net = Listener::net::<M>(sk);
    let listener = Listener::of::<M>(sk, net);
    if !listener.is_wanted::<M>() {
        return None;
    }
    let counted = state.refused_counted as u32;
    let refused = Refused {
        listener,
        req: state.refused,
        by_request: true,
        abort: M::exact::<u8>(net, &NET_ABORT_ON_OVERFLOW) as u8,
        counted,
    };
    let port = u16::from_be(read::field(state.refused, &SOCK_DPORT).unwrap_or(0) as u16);
    let mut draft = Draft::begin(Kind::Ack, M::RUNG)?;
    let event = draft.event();
    let wanted = refused.report::<M>(state, skb, event);
    let its_own = event.client_port == port;
    event.path |= Path::SEND_RESET;
    report::reset_reason(event, reason);
    if !wanted {
        audit::filtered(listener.netns, audit::own(counted, listener.is_full()));
        audit::left_out(listener.netns, LeftOut::FilteredReset, 1);
    }
    if wanted && its_own {
        draft.send();
    } else {
        draft.discard();
    }
    Some(its_own)
}

/// Any other segment: data of a connection that the kernel forgot, say. `sk` is the listener, or 0.
#[inline(never)]
fn reset_of_other<M: AttachMode>(sk: u64, skb: u64, reason: u64) -> u32 {
    u32::from(report_other::<M>(sk, skb, reason).is_some())
}

#[inline(always)]
fn report_other<M: AttachMode>(sk: u64, skb: u64, reason: u64) -> Option<()> {
    let netns = if sk == 0 {
        skb::netns(skb)?
    } else {
        M::exact::<u32>(Listener::net::<M>(sk), &NET_INUM) as u32
    };
    // Not in the ring: a scan may cause many that are filtered out, whose places would be lost.
    let mut event = RawEvent::EMPTY;
    emit::begin(&mut event, Kind::Reset, M::RUNG);
    event.path = Path::SEND_RESET;
    event.netns = netns;
    report::reset_reason(&mut event, reason);
    skb::parse_by::<M>(skb, At::Tcp, &mut event)?;
    // tcp_v4_send_reset and its IPv6 twin answer no RST, though they are called.
    if event.tcp_flags & RST != 0 {
        return None;
    }
    if sk != 0 {
        if !filter::wants_socket(sk, netns) {
            return None;
        }
        event.sk = sk;
        event.sk_state = STATE_LISTEN.load();
        event.ino = sock::inode::<Probed>(sk);
    }
    if filter::wants(event.server_port, netns) && filter::wants_segment(&event) {
        emit::record(&event);
    }
    Some(())
}
