//! The gate: is there any reason to look at this handshake?

use super::state::{CpuState, SEEN, Seen};
use crate::{arm, atomic::Word, openers};

/// Why to look at a SYN whose listener has never dropped anything: SYNs for which a cookie was made and
/// whose hook at the end was not yet reached, on all CPUs together.
static COOKIES: Word = Word::new(0);

/// Whether SYNs are to be looked at whose listener has never dropped anything.
#[inline(always)]
pub fn look() -> bool {
    COOKIES.load() != 0
}

impl CpuState {
    /// Whether `sk_drops` of this listener is not what this CPU last saw, or another listener may be
    /// at its address. Every drop of a SYN or a third ACK counts there (`tcp_listendrop`), so if it
    /// is the same, nothing was dropped. If not, another CPU may have dropped something.
    #[inline(always)]
    pub fn changed(&mut self, sk: u64, drops: u64) -> bool {
        let place = self.number.place(sk, SEEN);
        let drops = openers::opened() << 32 | drops;
        let seen = &mut self.seen[place];
        if seen.sk == sk && seen.drops == drops {
            return false;
        }
        *seen = Seen { sk, drops };
        true
    }

    /// A cookie is being made for this SYN.
    #[inline(always)]
    pub fn cookie(skb: u64) {
        if let Some(state) = Self::get()
            && arm::armed()
        {
            if state.cookie == 0 {
                COOKIES.add(1);
            }
            state.cookie = skb;
        }
    }

    /// Whether a cookie was made for this SYN, whose way is over.
    #[inline(always)]
    pub fn made_cookie(&mut self, skb: u64) -> bool {
        let made = self.cookie;
        if made != 0 {
            self.cookie = 0;
            COOKIES.add(u64::MAX);
        }
        made == skb
    }
}
