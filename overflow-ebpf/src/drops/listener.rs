//! The listener at which something was dropped.

use overflow_common::{RawEvent, valid};

use super::{mode::AttachMode, state::CpuState};
use crate::{
    filter,
    globals::{NET_INUM, SOCK_ACK_BACKLOG, SOCK_MAX_ACK_BACKLOG, SOCK_NET, SOCK_NUM, STATE_LISTEN},
};

/// A listener that is to be traced.
#[derive(Clone, Copy)]
pub struct Listener {
    sk: u64,
    ino: u32,
    netns: u32,
    /// `sk_ack_backlog`.
    len: u32,
    /// `sk_max_ack_backlog`.
    max: u32,
}

impl Listener {
    /// `None` if it is filtered out.
    #[inline(always)]
    pub fn at<M: AttachMode>(sk: u64, net: u64) -> Option<Self> {
        let netns = M::exact::<u32>(net, &NET_INUM) as u32;
        if !filter::wants(M::exact::<u16>(sk, &SOCK_NUM) as u16, netns)
            || !filter::wants_socket(sk, netns)
        {
            return None;
        }
        let (len, max) = Self::queue::<M>(sk);
        Some(Self { sk, ino: CpuState::get()?.inode::<M>(sk), netns, len, max })
    }

    /// Length and limit of its accept queue.
    #[inline(always)]
    pub fn queue<M: AttachMode>(sk: u64) -> (u32, u32) {
        let len = M::exact::<u32>(sk, &SOCK_ACK_BACKLOG);
        (len as u32, M::exact::<u32>(sk, &SOCK_MAX_ACK_BACKLOG) as u32)
    }

    /// Its `struct net`.
    #[inline(always)]
    pub fn net<M: AttachMode>(sk: u64) -> u64 {
        M::exact::<u64>(sk, &SOCK_NET)
    }

    /// What `event` says of it.
    #[inline(always)]
    pub fn report(self, event: &mut RawEvent) {
        event.sk = self.sk;
        event.ino = self.ino;
        event.sk_state = STATE_LISTEN.load();
        event.netns = self.netns;
        event.before.ack_backlog = self.len;
        event.before.max_ack_backlog = self.max;
        event.valid |= valid::ACCEPT_QUEUE;
    }
}
