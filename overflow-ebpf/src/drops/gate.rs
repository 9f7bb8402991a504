//! The gate: is there any reason to look at this handshake?

use super::state::CpuState;
use crate::{arm, atomic::Word};

/// Why to look at a SYN whose listener has never dropped anything: SYNs for which a cookie was made and
/// whose hook at the end was not yet reached, on all CPUs together.
static COOKIES: Word = Word::new(0);

/// Whether SYNs are to be looked at whose listener has never dropped anything.
#[inline(always)]
pub fn look() -> bool {
    COOKIES.load() != 0
}

impl CpuState {
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
