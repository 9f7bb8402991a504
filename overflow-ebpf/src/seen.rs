//! Which listeners have dropped nothing since this CPU last looked.

use crate::{number::Number, openers};

/// Listeners that are remembered per CPU; two in one place cost time, never exactness.
pub const SEEN: usize = 64;

/// A listener as this CPU last saw it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Seen {
    /// Address of its `struct sock`.
    sk: u64,
    /// `sk_drops`, and in the high half how many listeners had been opened.
    drops: u64,
}

/// What one CPU last saw of listeners.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SeenDrops {
    number: Number,
    seen: [Seen; SEEN],
}

impl SeenDrops {
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
}
