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

#[cfg(feature = "user")]
// SAFETY: repr(C) without padding (asserted above) and Copy; any bytes are a valid value.
unsafe impl aya::Pod for LeftOutKey {}

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
