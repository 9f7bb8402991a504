//! A SYN at the end of `tcp_conn_request`.

use overflow_common::{Kind, Path, valid};

use super::{gate, listener::Listener, mode::AttachMode, state::CpuState};
use crate::{
    emit, filter,
    globals::{ICSK_QLEN, NET_SYNCOOKIES, SOCK_DROPS},
    read,
    skb::{self, At},
};

/// `tcp_conn_request` is over: whether there is any reason to [`look`]. All that every healthy
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
    if drops == 0 {
        gate::sampled();
    }
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
    let counted = state.counted::<M>(net);
    let syncookies = M::exact::<u8>(net, &NET_SYNCOOKIES) as u8;
    let mut path = Path::CONN_REQUEST;
    if cookie {
        // With 2 every SYN is answered so, and nothing is the matter.
        if syncookies == 2 {
            return None;
        }
        path |= Path::COOKIE_INIT;
        gate::set_retry_pending();
    } else if counted & Path::COUNTED == 0 {
        // The first look at these counters proves nothing about this SYN; its queue may.
        let (len, max) = Listener::queue::<M>(sk);
        if len <= max {
            return None;
        }
        path |= Path::UNCOUNTED;
    } else if counted & Path::COUNTED_DROP == 0 {
        return None;
    } else {
        path |= counted;
    }
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
