//! The listener at which something was dropped.

use overflow_common::{RawEvent, valid};

use super::{mode::AttachMode, state::CpuState};
use crate::{
    filter,
    globals::{NET_INUM, SOCK_ACK_BACKLOG, SOCK_MAX_ACK_BACKLOG, SOCK_NET, SOCK_NUM, STATE_LISTEN},
};

/// What is read of it once.
#[derive(Clone, Copy)]
pub struct Listener {
    sk: u64,
    pub netns: u32,
    /// `sk_ack_backlog`.
    len: u32,
    /// `sk_max_ack_backlog`.
    max: u32,
}

impl Listener {
    /// In its `struct net`.
    #[inline(always)]
    pub fn of<M: AttachMode>(sk: u64, net: u64) -> Self {
        Self {
            sk,
            netns: M::exact::<u32>(net, &NET_INUM) as u32,
            len: M::exact::<u32>(sk, &SOCK_ACK_BACKLOG) as u32,
            max: M::exact::<u32>(sk, &SOCK_MAX_ACK_BACKLOG) as u32,
        }
    }

    /// Its `struct net`.
    #[inline(always)]
    pub fn net<M: AttachMode>(sk: u64) -> u64 {
        M::exact::<u64>(sk, &SOCK_NET)
    }

    /// Whether it is to be traced.
    #[inline(always)]
    pub fn is_wanted<M: AttachMode>(&self) -> bool {
        filter::wants(M::exact::<u16>(self.sk, &SOCK_NUM) as u16, self.netns)
            && filter::wants_socket(self.sk, self.netns)
    }

    /// Whether its accept queue is full.
    #[inline(always)]
    pub fn is_full(&self) -> bool {
        self.len > self.max
    }

    /// What `event` says of it.
    #[inline(always)]
    pub fn report<M: AttachMode>(&self, state: &mut CpuState, event: &mut RawEvent) {
        event.sk = self.sk;
        event.ino = state.inode::<M>(self.sk);
        event.sk_state = STATE_LISTEN.load();
        event.netns = self.netns;
        event.before.ack_backlog = self.len;
        event.before.max_ack_backlog = self.max;
        event.valid |= valid::ACCEPT_QUEUE;
    }
}
