//! A SYN at the end of `tcp_v4_conn_request` or its IPv6 twin: with the drop of a SYN to a broadcast
//! or multicast address, which `tcp_conn_request` never sees.

use overflow_common::{Kind, LeftOut, Path, valid};

use super::{gate, listener::Listener, mode::AttachMode, state::CpuState};
use crate::{
    arm, audit,
    counters::Counters,
    emit::Draft,
    filter,
    globals::{ICSK_QLEN, NET_SYNCOOKIES, SOCK_DROPS, TCP_SYN_SMC},
    retry,
    skb::{self, At},
};

/// The listener is done with a SYN: whether there is any reason to [`look`]. All that every healthy
/// handshake pays for.
#[inline(always)]
pub fn suspect<M: AttachMode>(sk: u64) -> bool {
    M::exact::<u32>(sk, &SOCK_DROPS) != 0 || gate::look()
}

/// This listener has dropped something at some time, or there is another reason. In a function of
/// its own: registers and stack that only this needs would cost the healthy ones too.
#[inline(always)]
pub fn look<M: AttachMode>(sk: u64, skb: u64) -> u32 {
    let Some(state) = CpuState::get() else { return 0 };
    let drops = M::exact::<u32>(sk, &SOCK_DROPS);
    let changed = state.changed(sk, drops);
    if changed || state.cookie == skb {
        return dropped::<M>(sk, skb);
    }
    0
}

/// Whether the listener is inside of an SMC one, which drops third ACKs before TCP sees them
/// (`smc_tcp_syn_recv_sock`, v5.18, commit 8270d9c21041): what was counted may be such a drop.
#[inline(always)]
fn smc<M: AttachMode>(sk: u64) -> bool {
    let sk = M::tcp_sock(sk);
    sk != 0 && matches!(M::field(sk, &TCP_SYN_SMC), Some(1..))
}

/// Requests in the SYN queue.
#[inline(always)]
fn qlen<M: AttachMode>(sk: u64) -> Option<u64> {
    let sk = M::tcp_sock(sk);
    if sk == 0 { None } else { M::field(sk, &ICSK_QLEN) }
}

#[inline(never)]
fn dropped<M: AttachMode>(sk: u64, skb: u64) -> u32 {
    u32::from(report::<M>(sk, skb).is_some())
}

#[inline(always)]
fn report<M: AttachMode>(sk: u64, skb: u64) -> Option<()> {
    let state = CpuState::get()?;
    let cookie = state.made_cookie(skb);
    if arm::is_over() {
        return None;
    }
    let net = Listener::net::<M>(sk);
    let rise = Counters::get()?.rose::<M>(net);
    if !arm::armed() || !(cookie || rise.any()) {
        // Where nothing rose, what `sk_drops` shows happened on another CPU.
        return None;
    }
    let listener = Listener::of::<M>(sk, net);
    let mut path = Path::CONN_REQUEST;
    if cookie {
        path |= Path::COOKIE_INIT;
    } else {
        path |= rise.path();
        if path & Path::UNCOUNTED != 0 || (path & Path::COUNTED_QUEUE_FULL == 0 && smc::<M>(sk)) {
            // The counters do not tell which test dropped it, if any did; its queue may.
            path = if listener.is_full() { Path::CONN_REQUEST | Path::UNCOUNTED } else { 0 };
        }
    }
    // No longer one of a few constants, each of which a verifier would follow by itself.
    let path = state.number.of(path.into()) as u32;
    let netns = listener.netns;
    let own = state.number.of(audit::own(path, true).into()) as u32;
    audit::compare(netns, rise, own);
    if path == 0 {
        return None;
    }
    let syncookies = M::exact::<u8>(net, &NET_SYNCOOKIES) as u8;
    // With 2 every SYN is answered so, and nothing is the matter.
    if cookie && syncookies == 2 {
        audit::left_out(netns, LeftOut::UnaskedCookie, 1);
        return None;
    }
    if !listener.is_wanted::<M>() {
        audit::filtered(netns, own);
        return None;
    }
    let mut draft = Draft::begin(Kind::Syn, M::RUNG)?;
    let event = draft.event();
    event.path = path;
    listener.report::<M>(state, event);
    event.syncookies = syncookies;
    event.valid |= valid::SYNCOOKIES;
    if path & Path::COUNTED_OVERFLOW == 0
        && let Some(qlen) = qlen::<M>(sk)
    {
        event.before.qlen = qlen as u32;
        event.valid |= valid::SYN_QUEUE;
    }
    if skb::parse_by::<M>(skb, At::Tcp, event).is_none() || !filter::wants_segment(event) {
        audit::filtered(netns, own);
        draft.discard();
        return None;
    }
    if cookie {
        retry::may_return(event);
    } else {
        retry::refused(event);
    }
    draft.send();
    Some(())
}
