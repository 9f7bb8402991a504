//! A third ACK at the end of `tcp_v4_syn_recv_sock` or its IPv6 twin.

use core::mem::MaybeUninit;

use overflow_common::{
    Kind, LeftOut, Loss, Path, RawEvent,
    segment::{ACK, SYN},
    valid,
};

use super::{listener::Listener, mode::AttachMode, state::CpuState};
use crate::{
    arm, audit,
    counters::Counters,
    emit::{self, Draft},
    filter,
    globals::{
        CB_TCP_FLAGS, NET_ABORT_ON_OVERFLOW, NET_INUM, REQ_LISTENER, REQ_NUM_RETRANS,
        REQ_NUM_TIMEOUT, SKB_CB, SKB_PROTOCOL,
    },
    losses,
    read::{self, Memory},
    retry,
    skb::{self, At},
};

/// No child: the third ACK is dropped, or answered by RST.
#[inline(always)]
pub fn refused<M: AttachMode>(sk: u64, skb: u64, req: u64, v6: bool) -> u32 {
    u32::from(report::<M>(sk, skb, req, v6).is_some())
}

#[inline(always)]
fn report<M: AttachMode>(sk: u64, skb: u64, req: u64, v6: bool) -> Option<()> {
    let state = CpuState::get()?;
    if reported_by_ipv4::<M>(skb, v6) || arm::is_over() {
        return None;
    }
    let net = Listener::net::<M>(sk);
    let rise = Counters::get()?.rose::<M>(net);
    if !arm::armed() {
        return None;
    }
    // No longer one of a few constants, each of which a verifier would follow by itself.
    let counted = state.number.of(rise.path().into()) as u32;
    let listener = Listener::of::<M>(sk, net);
    let netns = listener.netns;
    let own = state.number.of(audit::own(counted, listener.is_full()).into()) as u32;
    audit::compare(netns, rise, own);
    if tcp_flags::<M>(skb) & (SYN | ACK) == SYN {
        // Fast Open tries a child at the SYN, which then goes on without it.
        let full = own & Path::COUNTED_OVERFLOW != 0;
        let what = if full { LeftOut::FastOpenOverflow } else { LeftOut::FastOpenDrop };
        audit::left_out(netns, what, 1);
        return None;
    }
    let by_request = !of_cookie::<M>(req);
    let abort = M::exact::<u8>(net, &NET_ABORT_ON_OVERFLOW) as u8;
    if state.reset_due != 0 {
        // The RST that was to follow did not: that third ACK was never reported.
        losses::count(Loss::PathInterrupted);
        state.reset_due = 0;
    }
    if !listener.is_wanted::<M>() {
        audit::filtered(netns, own);
        if by_request && abort != 0 {
            audit::left_out(netns, LeftOut::FilteredReset, 1);
        }
        return None;
    }
    if by_request && abort != 0 {
        // The RST is to follow at once, and proves that the sysctl was read.
        state.reset_due = skb;
        state.refused = req;
        state.refused_counted = counted.into();
        return Some(());
    }
    let refused = Refused { listener, req, by_request, abort, counted };
    let mut draft = Draft::begin(Kind::Ack, M::RUNG)?;
    let event = draft.event();
    if !refused.report::<M>(state, skb, event) {
        audit::filtered(netns, own);
        draft.discard();
        return None;
    }
    retry::may_return(event);
    draft.send();
    Some(())
}

/// The flags of the segment, from what TCP keeps of it beside it (`TCP_SKB_CB`).
#[inline(always)]
fn tcp_flags<M: Memory>(skb: u64) -> u8 {
    M::exact::<u8>(skb + CB_TCP_FLAGS.load().offset(), &SKB_CB) as u8
}

/// A third ACK that got no child.
#[derive(Clone, Copy)]
pub struct Refused {
    pub listener: Listener,
    pub req: u64,
    /// It met a request, not the cookie check.
    pub by_request: bool,
    /// `sysctl_tcp_abort_on_overflow`.
    pub abort: u8,
    /// What this CPU counted, as path bits.
    pub counted: u32,
}

impl Refused {
    /// Whether it is wanted.
    #[inline(always)]
    pub fn report<M: AttachMode>(
        &self,
        state: &mut CpuState,
        skb: u64,
        event: &mut RawEvent,
    ) -> bool {
        event.path = self.counted | Path::SYN_RECV_SOCK_NULL;
        event.path |= if self.by_request { Path::CHECK_REQ } else { Path::COOKIE_CHECK };
        event.req = self.req;
        self.listener.report::<M>(state, event);
        event.abort_on_overflow = self.abort;
        event.valid |= valid::ABORT_ON_OVERFLOW;
        skb::parse_by::<M>(skb, At::Tcp, event).is_some() && filter::wants_segment(event)
    }
}

/// A child was made. Of a client that was refused before, as far as that shows at once?
#[inline(always)]
pub fn accepted<M: AttachMode>(sk: u64, skb: u64, req: u64, v6: bool) -> u32 {
    if may_recover::<M>(req) || (retry::remembered() && was_refused::<M>(sk, skb) != 0) {
        recovered::<M>(sk, skb, req, v6)
    } else {
        0
    }
}

/// Whether the client of this segment is remembered to have been refused. Not looked up in the ring's
/// place for a record: for some time most are healthy, and each would take one up until it is read.
#[inline(never)]
fn was_refused<M: AttachMode>(sk: u64, skb: u64) -> u32 {
    let mut place = MaybeUninit::uninit();
    let event = emit::blank(&mut place);
    event.netns = M::exact::<u32>(Listener::net::<M>(sk), &NET_INUM) as u32;
    let parsed = skb::parse_by::<M>(skb, At::Tcp, event).is_some();
    u32::from(parsed && retry::was_refused(event))
}

/// Of a request whose third ACK was dropped before, or put off by TCP_DEFER_ACCEPT? `tcp_check_req`
/// sets `acked` for both. Or of a cookie, which nobody remembers?
#[inline(always)]
fn may_recover<M: AttachMode>(req: u64) -> bool {
    M::acked(req) || of_cookie::<M>(req)
}

#[inline(never)]
fn recovered<M: AttachMode>(sk: u64, skb: u64, req: u64, v6: bool) -> u32 {
    u32::from(report_recovery::<M>(sk, skb, req, v6).is_some())
}

/// `cookie_v4_check` makes a request that knows no listener.
#[inline(always)]
fn of_cookie<M: AttachMode>(req: u64) -> bool {
    M::exact::<u64>(req, &REQ_LISTENER) == 0
}

#[inline(always)]
fn report_recovery<M: AttachMode>(sk: u64, skb: u64, req: u64, v6: bool) -> Option<()> {
    if reported_by_ipv4::<M>(skb, v6) {
        return None;
    }
    let listener = Listener::of::<M>(sk, Listener::net::<M>(sk));
    if !listener.is_wanted::<M>() {
        return None;
    }
    let state = CpuState::get()?;
    let mut draft = Draft::begin(Kind::Ack, M::RUNG)?;
    let event = draft.event();
    event.path = Path::SYN_RECV_SOCK_CHILD;
    event.path |= if of_cookie::<M>(req) { Path::COOKIE_CHECK } else { Path::CHECK_REQ };
    event.req = req;
    listener.report::<M>(state, event);
    if let (Some(timeouts), Some(retrans)) =
        (read::field(req, &REQ_NUM_TIMEOUT), read::field(req, &REQ_NUM_RETRANS))
    {
        event.num_timeout = timeouts as u8;
        event.num_retrans = retrans as u8;
        event.valid |= valid::NUM_TIMEOUT;
    }
    if skb::parse_by::<M>(skb, At::Tcp, event).is_none() || !filter::wants_segment(event) {
        draft.discard();
        return None;
    }
    draft.send();
    Some(())
}

/// `tcp_v6_syn_recv_sock` hands IPv4 segments of a dual-stack listener to its IPv4 twin, which has
/// reported already.
#[inline(always)]
fn reported_by_ipv4<M: AttachMode>(skb: u64, v6: bool) -> bool {
    v6 && M::exact::<u16>(skb, &SKB_PROTOCOL) == skb::ETH_P_IP
}
