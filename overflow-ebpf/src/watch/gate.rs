//! The gate: is there any reason to look at this handshake?

use core::cell::UnsafeCell;

use super::{SEEN, Watch};
use crate::globals::LESSONS;

/// Why to look at a SYN whose listener has never dropped anything.
#[repr(C)]
struct Reasons {
    /// SYNs for which a cookie was made and `tcp_conn_request` is not over, on all CPUs together.
    cookies: Word,
    /// How many are to be looked at for nothing else, so that each CPU learns its counters of a
    /// namespace before it counts a drop there: more with each new listener, one less with each. Falls
    /// below zero where CPUs take the last one together, until the next look.
    lessons: Word,
    /// Listeners opened so far: one at an old one's address is another.
    opened: Word,
}

static REASONS: Reasons =
    Reasons { cookies: Word::new(0), lessons: Word::new(FIRST_LESSONS), opened: Word::new(0) };

/// SYNs to look at for the listeners that are there when tracing starts.
const FIRST_LESSONS: u64 = 256;
/// No more than so many at once.
const ENOUGH_LESSONS: i64 = 1 << 16;

/// Set once a third ACK was dropped and its request kept: from then on third ACKs that are taken
/// are looked at too, for those that recover. User space clears it when none of them can any more;
/// a section of its own is a map of its own.
#[unsafe(link_section = ".data.hurt")]
static HURT: Word = Word::new(0);

/// Whether SYNs are to be looked at whose listener has never dropped anything.
#[inline(always)]
pub fn look() -> bool {
    REASONS.cookies.load() | REASONS.lessons.load() != 0
}

/// A listener was opened, perhaps in a namespace whose counters nobody has read.
#[inline(always)]
pub fn opened() {
    REASONS.opened.add(1);
    // Where listeners come faster than SYNs, there are enough.
    if REASONS.lessons.load().cast_signed() < ENOUGH_LESSONS {
        REASONS.lessons.add(LESSONS.load().into());
    }
}

/// A SYN was looked at for nothing else.
#[inline(always)]
pub fn learned() {
    match REASONS.lessons.load().cast_signed() {
        0 => {}
        1.. => REASONS.lessons.add(u64::MAX),
        _ => REASONS.lessons.store(0),
    }
}

/// Whether a third ACK was dropped lately.
#[inline(always)]
pub fn hurt() -> bool {
    HURT.load() != 0
}

/// A third ACK was dropped, its request kept.
#[inline(always)]
pub fn set_hurt() {
    HURT.store(1);
}

/// A word that all CPUs share. The compiler has no atomics for this target; the kernel has.
struct Word(UnsafeCell<u64>);

// SAFETY: read and written only whole, or by the atomic instruction below.
unsafe impl Sync for Word {}

impl Word {
    const fn new(value: u64) -> Self {
        Self(UnsafeCell::new(value))
    }

    #[inline(always)]
    fn load(&self) -> u64 {
        // SAFETY: as above; volatile, because others write it.
        unsafe { core::ptr::read_volatile(self.0.get()) }
    }

    #[inline(always)]
    fn store(&self, value: u64) {
        // SAFETY: as above.
        unsafe { core::ptr::write_volatile(self.0.get(), value) };
    }

    #[inline(always)]
    fn add(&self, number: u64) {
        // SAFETY: an atomic addition to a word of a map that nobody takes away.
        unsafe {
            core::arch::asm!(
                "lock *(u64 *)({word} + 0) += {number}",
                word = in(reg) self.0.get(),
                number = in(reg) number,
                options(nostack),
            );
        }
    }
}

/// A listener as this CPU last saw it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Seen {
    sk: u64,
    /// `sk_drops`, and in the high half how many listeners had been opened.
    drops: u64,
}

impl Watch {
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
        if let Some(watch) = Self::get() {
            if watch.cookie == 0 {
                REASONS.cookies.add(1);
            }
            watch.cookie = skb;
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
