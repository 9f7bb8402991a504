//! The kernel's own counters as a witness: `ListenOverflows` and `ListenDrops` are kept per CPU
//! (`__NET_INC_STATS`), and a segment is handled on one. What they rose by on this CPU while the
//! segment was handled says what became of it, whatever other CPUs do to the queues meanwhile.

use core::mem::MaybeUninit;

use aya_ebpf::{
    btf_maps::{HashMap, PerCpuArray},
    helpers::bpf_get_smp_processor_id,
    macros::btf_map,
};
use overflow_common::{Counted, CountersRead, CpuCounters, Loss, Path, SetAside};

use crate::{
    atomic::Word,
    globals::{
        ARRAY_PPTRS, MIB_LISTENOVERFLOWS, MIB_TCPREQQFULLDROP, NET_HASH_MIX, NET_STATISTICS,
        SOCK_NET,
    },
    losses,
    number::Number,
    read::{self, Memory, Probed},
};

/// This CPU's counters as they were last read.
#[btf_map]
pub static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();

/// What one CPU knows of its counters.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Counters(CpuCounters);

/// Of namespaces where this CPU has counted a drop; the others begin at zero again.
#[btf_map]
pub static ASIDE: HashMap<SetAside, Counted, 4096> = HashMap::new();

/// Not zero where what a CPU has never read may have been counted before: the namespaces that were
/// there when tracing began could not all be surveyed, or one found no room in [`ASIDE`].
#[unsafe(link_section = ".data.forgotten")]
static FORGOTTEN: Word = Word::new(1);

/// What this CPU's counters of a namespace rose by since they were last read.
#[derive(Clone, Copy)]
pub struct Rise {
    /// `ListenOverflows`.
    pub overflows: u64,
    /// `ListenDrops`; all ones where nothing is known.
    pub drops: u64,
    /// `TCPReqQFullDrop`.
    pub queue_full: u64,
    /// Which of [`CpuCounters::counted`] it is.
    place: u64,
}

impl Rise {
    /// Not known: the counters were read for the first time, or cannot be.
    const UNKNOWN: Self = Self { overflows: 0, drops: u64::MAX, queue_full: 0, place: u64::MAX };

    /// Nothing was dropped.
    const NONE: Self = Self { overflows: 0, drops: 0, queue_full: 0, place: u64::MAX };

    /// Whether anything was dropped.
    #[inline(always)]
    pub const fn any(self) -> bool {
        self.drops != 0
    }

    /// Whether they were read before.
    #[inline(always)]
    pub const fn is_known(self) -> bool {
        self.drops != u64::MAX
    }

    /// What they say of a segment that was dropped, as path bits. Where drops that no hook sees came
    /// before it, they say it only if all were of one kind.
    #[inline(always)]
    pub const fn path(self) -> u32 {
        let Self { overflows, drops, queue_full, .. } = self;
        if drops == 0 {
            Path::COUNTED
        } else if drops == u64::MAX {
            Path::UNCOUNTED
        } else if overflows == drops {
            Path::COUNTED | Path::COUNTED_DROP | Path::COUNTED_OVERFLOW
        } else if overflows == 0 && queue_full == drops {
            Path::COUNTED | Path::COUNTED_DROP | Path::COUNTED_QUEUE_FULL
        } else if overflows == 0 && queue_full == 0 {
            Path::COUNTED | Path::COUNTED_DROP
        } else {
            Path::UNCOUNTED
        }
    }
}

impl Counters {
    /// This CPU's.
    #[inline(always)]
    pub fn get() -> Option<&'static mut Self> {
        // SAFETY: the slot is this CPU's own, and the hooks that use it run one after the other.
        COUNTERS.get_ptr_mut(0).map(|counters| unsafe { &mut *counters })
    }

    /// A pointer as a plain number, see [`Number`].
    #[inline(always)]
    pub fn number(&mut self, pointer: u64) -> u64 {
        Number::at(&mut self.0.number).of(pointer)
    }

    /// Where what is remembered of the namespace with this [`Counted::id`] stands.
    #[inline(always)]
    fn place(&mut self, id: u64) -> usize {
        Number::at(&mut self.0.number).place(id, CpuCounters::REMEMBERED)
    }

    /// What this CPU's counters of the namespace of `sk` rose by since they were last read.
    #[inline(always)]
    pub fn rose_at_socket(sk: u64) -> Rise {
        match (Self::get(), read::field(sk, &SOCK_NET)) {
            (Some(counters), Some(net)) => counters.rose::<Probed>(net),
            _ => Rise::UNKNOWN,
        }
    }

    /// What this CPU's counters of network namespace `net` rose by since they were last read.
    ///
    /// They are read after every event that makes them rise (a SYN, a third ACK, an ICMP error that
    /// meets a request), so what is found is due to the segment at hand. What no hook sees makes it
    /// more than that: third ACKs that SMC drops before TCP does (`smc_tcp_syn_recv_sock`, v5.18,
    /// commit 8270d9c21041).
    #[inline(always)]
    pub fn rose<M: Memory>(&mut self, net: u64) -> Rise {
        let id = self.id::<M>(net);
        self.rose_of::<M>(net, id)
    }

    /// [`Counted::id`] of network namespace `net`.
    #[inline(always)]
    fn id<M: Memory>(&mut self, net: u64) -> u64 {
        let mix = M::exact::<u32>(net, &NET_HASH_MIX);
        self.number(net) ^ mix << 32
    }

    /// As [`Self::rose`], of `net` with this [`Counted::id`].
    #[inline(always)]
    fn rose_of<M: Memory>(&mut self, net: u64, id: u64) -> Rise {
        let statistics = self.number(M::exact::<u64>(net, &NET_STATISTICS));
        self.rose_at(id, statistics)
    }

    /// The same, of the namespace with this [`Counted::id`], whose `mib.net_statistics` are given.
    #[inline(always)]
    pub fn rose_at(&mut self, id: u64, statistics: u64) -> Rise {
        let index = u64::from(MIB_LISTENOVERFLOWS.load());
        let place = self.place(id);
        let unknown = Rise { place: place as u64, ..Rise::UNKNOWN };
        if index == 0
            || ((self.0.offset == 0 || self.0.counted[place].id != id)
                && settle(self, place as u64, id) == 0)
        {
            return unknown;
        }
        let stats = statistics + self.0.offset;
        // ListenDrops comes next (user space has made sure of that).
        let mut rows = MaybeUninit::uninit();
        let (&[overflows, drops], read) = read::fill::<[u64; 2]>(stats + index * 8, &mut rows);
        if !read {
            return unknown;
        }
        let last = &mut self.0.counted[place];
        let known = last.known;
        let rise = Rise {
            overflows: overflows.wrapping_sub(last.overflows),
            drops: drops.wrapping_sub(last.drops),
            queue_full: 0,
            place: place as u64,
        };
        if known != 0 && rise.drops == 0 {
            return Rise::NONE;
        }
        let mut queue_full = last.queue_full;
        // Each TCPReqQFullDrop comes with a ListenDrops that no ListenOverflows comes with.
        if known == 0 || rise.overflows != rise.drops {
            let index = u64::from(MIB_TCPREQQFULLDROP.load());
            if !read::into(stats + index * 8, &mut queue_full) {
                return unknown;
            }
        }
        let risen = queue_full.wrapping_sub(last.queue_full);
        last.overflows = overflows;
        last.drops = drops;
        last.queue_full = queue_full;
        if known == 0 {
            last.known = 1;
            return unknown;
        }
        Rise { queue_full: risen, ..rise }
    }

    /// Something rose in the namespace with this inode number since all hooks are attached: that is
    /// noted beside what was read.
    #[inline(always)]
    pub fn note(&mut self, netns: u32, rise: Rise) {
        let Some(noted) = self.0.counted.get_mut(rise.place as usize) else {
            losses::count(Loss::Uncounted);
            return;
        };
        noted.netns = netns;
        // SAFETY: a helper without arguments.
        noted.cpu = unsafe { bpf_get_smp_processor_id() };
        let CountersRead { overflows, drops, queue_full, unknown } = &mut noted.read;
        if rise.is_known() {
            *overflows += rise.overflows;
            *drops += rise.drops;
            *queue_full += rise.queue_full;
        } else {
            *unknown += 1;
        }
    }

    /// As [`Self::rose`], before a segment is handled: what they rose by since then is its own. The
    /// first time they may hold what was under way when the trace began: that is nobody's.
    #[inline(always)]
    pub fn begin<M: Memory>(&mut self, net: u64) -> Rise {
        let id = self.id::<M>(net);
        let rise = self.rose_of::<M>(net, id);
        let place = self.place(id);
        let last = &mut self.0.counted[place];
        if last.id != id || last.known == 2 {
            return rise;
        }
        last.known = 2;
        if rise.any() { Rise { place: rise.place, ..Rise::UNKNOWN } } else { rise }
    }

    /// Reads the counters of what is perhaps no namespace, see [`Self::rose_at`].
    #[inline(always)]
    pub fn survey(&mut self, id: u64, statistics: u64) {
        let mut row = 0_u64;
        let Some(base) = self.this_cpu() else { return };
        let place = statistics + base + u64::from(MIB_LISTENOVERFLOWS.load()) * 8;
        if read::quietly(place, &mut row) {
            self.rose_at(id, statistics);
        }
    }

    /// What they rose by since a hook read them last, of what is perhaps no namespace; nothing is
    /// noted. [`Rise::UNKNOWN`] as well where nothing can be read.
    #[inline(always)]
    pub fn peek(&mut self, id: u64, statistics: u64) -> Rise {
        let Some(base) = self.this_cpu() else { return Rise::UNKNOWN };
        let stats = statistics + base;
        let mut rows = [0_u64; 2];
        let mut queue_full = 0_u64;
        if !read::quietly(stats + u64::from(MIB_LISTENOVERFLOWS.load()) * 8, &mut rows)
            || !read::quietly(stats + u64::from(MIB_TCPREQQFULLDROP.load()) * 8, &mut queue_full)
        {
            return Rise::UNKNOWN;
        }
        let place = Number::at(&mut self.0.peeked).place(id, CpuCounters::REMEMBERED);
        let mut last = self.0.counted[place];
        if last.id != id {
            last = Self::before(id);
        }
        if last.known == 0 {
            return Rise::UNKNOWN;
        }
        Rise {
            overflows: rows[0].wrapping_sub(last.overflows),
            drops: rows[1].wrapping_sub(last.drops),
            queue_full: queue_full.wrapping_sub(last.queue_full),
            place: u64::MAX,
        }
    }

    /// What a per-CPU address lacks to be this CPU's. This slot shows it: its place is that of the
    /// map's per-CPU memory (`struct bpf_array`, `pptrs[0]`) plus just that.
    #[inline(always)]
    fn this_cpu(&mut self) -> Option<u64> {
        if self.0.offset == 0 {
            let map = self.number(core::ptr::from_ref(&COUNTERS) as u64);
            let slot = self.number(core::ptr::from_ref(self) as u64);
            let memory = read::field(map, &ARRAY_PPTRS)?;
            self.0.offset = slot.wrapping_sub(memory);
        }
        Some(self.0.offset)
    }

    /// Two namespaces share a place: the one that is there makes room for the one with this
    /// [`Counted::id`].
    #[inline(always)]
    fn change(&mut self, place: usize, id: u64) {
        core::hint::cold_path();
        // SAFETY: a helper without arguments.
        let cpu = unsafe { bpf_get_smp_processor_id() }.into();
        let leaving = &self.0.counted[place];
        if leaving.id != 0 && (leaving.drops != 0 || leaving.read.unknown != 0) {
            let aside = SetAside { id: leaving.id, cpu };
            if ASIDE.insert(aside, leaving, 0).is_err() {
                losses::count(Loss::Uncounted);
                FORGOTTEN.store(1);
            }
        }
        self.0.counted[place] = Self::before(id);
    }

    /// What this CPU last read of the namespace with this [`Counted::id`], which has no place now.
    #[inline(always)]
    fn before(id: u64) -> Counted {
        // SAFETY: a helper without arguments.
        let cpu = unsafe { bpf_get_smp_processor_id() }.into();
        // SAFETY: copied at once; the entry is this CPU's alone.
        let aside = unsafe { ASIDE.get(SetAside { id, cpu }) }.copied();
        aside.unwrap_or_else(|| {
            // It was made since tracing began, or nothing was ever dropped there on this CPU.
            let known = u64::from(FORGOTTEN.load() == 0);
            let none = CountersRead { overflows: 0, drops: 0, queue_full: 0, unknown: 0 };
            let (netns, cpu) = (0, 0);
            Counted { id, known, overflows: 0, drops: 0, queue_full: 0, netns, cpu, read: none }
        })
    }
}

/// Sees to it that the place is that of the namespace with this [`Counted::id`], and that this CPU's
/// counters can be found: 0 if they cannot. In a function of its own: it is seldom needed.
#[inline(never)]
fn settle(counters: &mut Counters, place: u64, id: u64) -> u32 {
    if counters.this_cpu().is_none() {
        return 0;
    }
    let place = place as usize & (CpuCounters::REMEMBERED - 1);
    if counters.0.counted[place].id != id {
        counters.change(place, id);
    }
    1
}
