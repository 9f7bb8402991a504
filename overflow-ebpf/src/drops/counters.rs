//! The kernel's own counters as a witness: `ListenOverflows` and `ListenDrops` are kept per CPU
//! (`__NET_INC_STATS`), and a segment is handled on one. What they rose by on this CPU while the
//! segment was handled says what became of it, whatever other CPUs do to the queues meanwhile.

use core::mem::MaybeUninit;

use overflow_common::{Loss, Path};

use super::state::{COUNTED, CpuState, DROPS};
use crate::{
    globals::{ARRAY_PPTRS, MIB_LISTENOVERFLOWS, MIB_TCPREQQFULLDROP, NET_STATISTICS},
    losses,
    read::{self, Memory},
};

impl CpuState {
    /// What this CPU's counters of network namespace `net` rose by since they were last read, as
    /// path bits; 0 if they were not read before, or cannot be.
    ///
    /// They are read after every event that makes them rise (a SYN, a third ACK, an ICMP error that
    /// meets a request), so what is found is due to the segment at hand. What no hook sees: SYNs to a
    /// broadcast address, and third ACKs that SMC drops before TCP (`smc_tcp_syn_recv_sock`).
    #[inline(always)]
    pub fn counted<M: Memory>(&mut self, net: u64) -> u32 {
        let place = self.place(net, COUNTED);
        let index = u64::from(MIB_LISTENOVERFLOWS.load());
        let Some(base) = self.this_cpu() else { return 0 };
        if index == 0 {
            return 0;
        }
        let stats = self.number(M::exact::<u64>(net, &NET_STATISTICS)) + base;
        // ListenDrops comes next (user space has made sure of that).
        let mut rows = MaybeUninit::uninit();
        let (&[overflows, drops], read) = read::fill::<[u64; 2]>(stats + index * 8, &mut rows);
        if !read {
            return 0;
        }
        let last = &mut self.counted[place];
        let before = *last;
        // A namespace made anew at an old one's address begins at zero.
        let known = before.net == net && before.drops <= drops && before.overflows <= overflows;
        if before.net != 0 && before.net != net {
            // Two namespaces in one place: what the other counts until it is back is unknown.
            losses::count(Loss::Uncounted);
        }
        last.net = net;
        last.overflows = overflows;
        last.drops = drops;
        if known && before.drops == drops {
            return Path::COUNTED;
        }
        if known && before.overflows != overflows {
            return Path::COUNTED | Path::COUNTED_DROP | Path::COUNTED_OVERFLOW;
        }
        // Not the accept queue. What the SYN queue drops has a counter of its own.
        let index = u64::from(MIB_TCPREQQFULLDROP.load());
        let mut queue_full = 0_u64;
        if !read::into(stats + index * 8, &mut queue_full) {
            return 0;
        }
        last.queue_full = queue_full;
        if !known {
            return 0;
        }
        let by_queue = if queue_full == before.queue_full { 0 } else { Path::COUNTED_QUEUE_FULL };
        Path::COUNTED | Path::COUNTED_DROP | by_queue
    }

    /// What a per-CPU address lacks to be this CPU's. This slot shows it: its place is that of the
    /// map's per-CPU memory (`struct bpf_array`, `pptrs[0]`) plus just that.
    #[inline(always)]
    fn this_cpu(&mut self) -> Option<u64> {
        if self.offset == 0 {
            let map = self.number(core::ptr::from_ref(&DROPS) as u64);
            let slot = self.number(core::ptr::from_ref(self) as u64);
            let memory = read::field(map, &ARRAY_PPTRS)?;
            self.offset = slot.wrapping_sub(memory);
        }
        Some(self.offset)
    }
}
