//! The gate: is there any reason to look at this handshake?

use super::state::{CpuState, SEEN, Seen};
use crate::{atomic::Word, globals::BASELINE_SAMPLES};

/// Why to look at a SYN whose listener has never dropped anything.
#[repr(C)]
struct Reasons {
    /// SYNs for which a cookie was made and `tcp_conn_request` is not over, on all CPUs together.
    cookies: Word,
    /// How many are to be looked at only for a baseline, so that each CPU has read its counters of a
    /// namespace before it counts a drop there: more with each new listener, one less with each.
    /// Falls below zero where CPUs take the last one together, until the next look.
    baseline_samples: Word,
    /// Listeners opened so far: one at an old one's address is another.
    opened: Word,
}

static REASONS: Reasons = Reasons {
    cookies: Word::new(0),
    baseline_samples: Word::new(FIRST_SAMPLES),
    opened: Word::new(0),
};

/// SYNs to look at for the listeners that are there when tracing starts.
const FIRST_SAMPLES: u64 = 256;
/// No more than so many at once.
const ENOUGH_SAMPLES: i64 = 1 << 16;

/// Set once a third ACK was dropped, or a SYN answered by a cookie, whose client may try again: from
/// then on third ACKs that are taken are looked at too, for those that recover. User space clears it when
/// none of them can any more; a section of its own is a map of its own.
#[unsafe(link_section = ".data.retry_pending")]
static RETRY_PENDING: Word = Word::new(0);

/// Whether SYNs are to be looked at whose listener has never dropped anything.
#[inline(always)]
pub fn look() -> bool {
    REASONS.cookies.load() | REASONS.baseline_samples.load() != 0
}

/// A listener was opened, perhaps in a namespace whose counters nobody has read.
#[inline(always)]
pub fn opened() {
    REASONS.opened.add(1);
    // Where listeners come faster than SYNs, there are enough.
    if REASONS.baseline_samples.load().cast_signed() < ENOUGH_SAMPLES {
        REASONS.baseline_samples.add(BASELINE_SAMPLES.load().into());
    }
}

/// A SYN was looked at only for a baseline.
#[inline(always)]
pub fn sampled() {
    match REASONS.baseline_samples.load().cast_signed() {
        0 => {}
        1.. => REASONS.baseline_samples.add(u64::MAX),
        _ => REASONS.baseline_samples.store(0),
    }
}

/// Whether a third ACK was dropped lately, or a cookie sent.
#[inline(always)]
pub fn retry_pending() -> bool {
    RETRY_PENDING.load() != 0
}

/// A third ACK was dropped, or a SYN answered by a cookie.
#[inline(always)]
pub fn set_retry_pending() {
    RETRY_PENDING.store(1);
}

impl CpuState {
    /// Whether `sk_drops` of this listener is not what this CPU last saw, or another listener may be
    /// at its address. Every drop of a SYN or a third ACK counts there (`tcp_listendrop`), so if it
    /// is the same, nothing was dropped. If not, another CPU may have dropped something.
    #[inline(always)]
    pub fn changed(&mut self, sk: u64, drops: u64) -> bool {
        let place = self.place(sk, SEEN);
        let drops = REASONS.opened.load() << 32 | drops;
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
        if let Some(state) = Self::get() {
            if state.cookie == 0 {
                REASONS.cookies.add(1);
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
            REASONS.cookies.add(u64::MAX);
        }
        made == skb
    }
}
