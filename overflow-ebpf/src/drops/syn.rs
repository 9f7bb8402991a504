//! A SYN at the end of `tcp_v4_conn_request` or its IPv6 twin: with the drop of a SYN to a broadcast
//! or multicast address, which `tcp_conn_request` never sees.

use overflow_common::{Kind, Path, valid};

use super::{gate, listener::Listener, mode::AttachMode, state::CpuState};
use crate::{
    arm,
    counters::Counters,
    emit, filter,
    globals::{ICSK_QLEN, NET_SYNCOOKIES, SOCK_DROPS},
    read,
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
    if state.reset_due == skb {
        // No third ACK, but a SYN with Fast Open that got no child: no RST answers it.
        state.reset_due = 0;
    }
    let drops = M::exact::<u32>(sk, &SOCK_DROPS);
    let changed = state.changed(sk, drops);
    if changed || state.cookie == skb {
        return dropped::<M>(sk, skb);
    }
    0
}

#[inline(never)]
fn dropped<M: AttachMode>(sk: u64, skb: u64) -> u32 {
    u32::from(report::<M>(sk, skb).is_some())
}

#[inline(always)]
fn report<M: AttachMode>(sk: u64, skb: u64) -> Option<()> {
    let state = CpuState::get()?;
    let cookie = state.made_cookie(skb);
    let net = Listener::net::<M>(sk);
    let rise = Counters::get()?.rose::<M>(net);
    if !arm::armed() {
        return None;
    }
    let syncookies = M::exact::<u8>(net, &NET_SYNCOOKIES) as u8;
    let mut path = Path::CONN_REQUEST;
    if cookie {
        // With 2 every SYN is answered so, and nothing is the matter.
        if syncookies == 2 {
            return None;
        }
        path |= Path::COOKIE_INIT;
    } else if !rise.any() {
        // What `sk_drops` shows happened on another CPU.
        return None;
    } else {
        path |= rise.path();
        if path & Path::UNCOUNTED != 0 {
            // The counters do not tell which test dropped it, if any did; its queue may.
            let (len, max) = Listener::queue::<M>(sk);
            if len <= max {
                return None;
            }
        }
    }
    let counted = path;
    let listener = Listener::at::<M>(sk, net)?;
    emit::in_place(Kind::Syn, M::RUNG, |event| {
        event.path = path;
        listener.report(event);
        event.syncookies = syncookies;
        event.valid |= valid::SYNCOOKIES;
        if counted & Path::COUNTED_OVERFLOW == 0
            && let Some(qlen) = read::field(sk, &ICSK_QLEN)
        {
            event.before.qlen = qlen as u32;
            event.valid |= valid::SYN_QUEUE;
        }
        skb::parse_by::<M>(skb, At::NetworkHeader, event).is_some() && filter::wants_segment(event)
    });
    Some(())
}
