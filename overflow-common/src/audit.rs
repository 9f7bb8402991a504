//! What the eBPF side saw the kernel count but reports no event of, by network namespace: without
//! it nobody could tell a drop that was not asked for from one that was missed.

/// A row per kind, in order of its number: variant, what it is (the variant's documentation).
macro_rules! left_out {
    ($($kind:ident $meaning:literal;)+) => {
        /// What was seen and left out; [`LeftOutKey::what`] is its number.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum LeftOut {
            $(#[doc = $meaning] $kind,)+
        }

        impl LeftOut {
            /// All kinds, in order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];
        }
    };
}

left_out! {
    FilteredOverflow
        "A SYN or third ACK of a listener that is not asked for met a full accept queue: \
         `ListenOverflows` and `ListenDrops` rose.";
    FilteredDrop
        "A SYN or third ACK of a listener that is not asked for was dropped for another reason, or \
         an ICMP error ended its request: `ListenDrops` alone rose.";
    FilteredQueueFull
        "A SYN to a listener that is not asked for met a full SYN queue with cookies off: \
         `TCPReqQFullDrop` and `ListenDrops` rose.";
    FilteredCookie
        "A SYN to a listener that is not asked for was answered by a cookie: `SyncookiesSent` and \
         `TCPReqQFullDoCookies` rose.";
    FilteredReset
        "A third ACK of a listener that is not asked for is answered by RST for want of a child: \
         `EmbryonicRsts` rises. It is counted beside its [`Self::FilteredOverflow`] or \
         [`Self::FilteredDrop`].";
    FilteredFastOpen
        "A SYN to a listener that is not asked for and that has Fast Open: one of the counters of \
         Fast Open may have risen. A child that it did not get is counted as \
         [`Self::FastOpenOverflow`] or [`Self::FastOpenDrop`] instead.";
    UnaskedCookie
        "A SYN was answered by a cookie because `tcp_syncookies` is 2, which is nothing to report: \
         `SyncookiesSent` and `TCPReqQFullDoCookies` rose.";
    FastOpenOverflow
        "Fast Open tried a child at the SYN and found the accept queue full; the SYN goes on \
         without it: `ListenOverflows` and `ListenDrops` rose.";
    FastOpenDrop
        "Fast Open tried a child at the SYN that could not be made; the SYN goes on without it: \
         `ListenDrops` alone rose.";
    UnseenOverflow
        "`ListenOverflows` of this CPU rose by one more than the segments account for that hooks \
         saw. `ListenDrops` is counted for itself, as [`Self::UnseenDrop`].";
    UnseenDrop
        "`ListenDrops` of this CPU rose by one more than the segments account for that hooks saw: \
         a drop where there is no hook (a third ACK that SMC refuses).";
    UnseenQueueFull
        "`TCPReqQFullDrop` of this CPU rose by one more than the segments account for that hooks \
         saw.";
}

/// Whose, and what: the key under which it is counted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeftOutKey {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// A [`LeftOut`].
    pub what: u32,
}

const _: () = assert!(size_of::<LeftOutKey>() == 8);

/// What the eBPF side has read that a namespace's counters rose by, on all CPUs together.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountersRead {
    /// `ListenOverflows`.
    pub overflows: u64,
    /// `ListenDrops`.
    pub drops: u64,
    /// `TCPReqQFullDrop`.
    pub queue_full: u64,
    /// How often they had risen by nobody knows how much: a CPU read them for the first time.
    pub unknown: u64,
}

const _: () = assert!(size_of::<CountersRead>() == 32);

/// What one CPU counted for a network namespace when a hook last read it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Address and `hash_mix` of its `struct net`: another namespace at its address has another
    /// random number there (v5.1, commit 355b98553789).
    pub id: u64,
    /// Not zero where the rest is what was read, or zero for sure; 2 once it was read before a segment
    /// was handled.
    pub known: u64,
    /// `ListenOverflows`.
    pub overflows: u64,
    /// `ListenDrops`.
    pub drops: u64,
    /// `TCPReqQFullDrop`.
    pub queue_full: u64,
    /// Inode number of the namespace, once anything was read since all hooks are attached.
    pub netns: u32,
    /// This CPU's number, likewise.
    pub cpu: u32,
    /// How far they rose, as hooks have read them since all of them are attached.
    pub read: CountersRead,
}

/// What one CPU knows of its counters.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CpuCounters {
    /// For the eBPF side alone: through which a pointer becomes a number.
    pub number: u64,
    /// The same for who may interrupt whoever uses the other.
    pub peeked: u64,
    /// What a per-CPU address lacks to be this CPU's; 0 until it was found.
    pub offset: u64,
    /// Network namespaces, by a hash of [`Counted::id`].
    pub counted: [Counted; CpuCounters::REMEMBERED],
}

impl CpuCounters {
    /// Network namespaces that are remembered per CPU; two in one place take turns.
    pub const REMEMBERED: usize = 128;
}

const _: () = assert!(size_of::<Counted>() == 80);
const _: () = assert!(size_of::<CpuCounters>() == 24 + 80 * CpuCounters::REMEMBERED);

/// Where what a CPU counted for a namespace waits that had to leave its place in [`CpuCounters`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// [`Counted::id`].
    pub id: u64,
    /// The CPU's number.
    pub cpu: u64,
}

const _: () = assert!(size_of::<SetAside>() == 16);

/// What hooks do, as user space tells them.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is judged: not all hooks are attached. Counters are read all the same.
    Attaching = 0,
    /// Everything is judged.
    Judging = 1,
    /// Nothing is judged any more, and no counter is read: what they stand at now is compared.
    Over = 2,
}

#[cfg(feature = "user")]
// SAFETY: repr(C) without padding (asserted above) and Copy; any bytes are a valid value.
unsafe impl aya::Pod for LeftOutKey {}

#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for CountersRead {}

#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for Counted {}

#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for CpuCounters {}

#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for SetAside {}

impl LeftOut {
    /// The one with this number, if there is one.
    pub fn from_u32(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places() {
        for (place, kind) in LeftOut::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, place);
            assert_eq!(LeftOut::from_u32(*kind as u32), Some(*kind));
        }
        assert_eq!(LeftOut::from_u32(u32::MAX), None);
    }
}
