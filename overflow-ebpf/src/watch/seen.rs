//! The gate: has this listener dropped anything since this CPU last looked?

use crate::{globals::SOCK_DROPS, read::Memory};

use super::{SEEN, Watch};

/// A listener as this CPU last saw it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Seen {
    sk: u64,
    drops: u64,
}

impl Watch {
    /// Whether `sk_drops` of this listener is not what this CPU last saw. Every drop of a SYN or a
    /// third ACK counts there (`tcp_listendrop`, since v4.7, commit 9caad864151e), so if it is the
    /// same, nothing was dropped. If not, another CPU may have dropped something.
    #[inline(always)]
    pub fn changed<M: Memory>(&mut self, sk: u64) -> bool {
        let place = self.place(sk, SEEN);
        let Some(drops) = M::word(sk, &SOCK_DROPS) else { return true };
        let seen = &mut self.seen[place];
        if seen.sk == sk && seen.drops == drops {
            return false;
        }
        *seen = Seen { sk, drops };
        true
    }
}
