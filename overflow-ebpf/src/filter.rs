//! Early exits: is this segment or socket wanted at all? What the lists mean is
//! [`overflow_common::filter`]; here they are maps.

use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use overflow_common::{
    RawEvent,
    filter::{self, ListenerKey, Lists},
};

use crate::{
    globals::{FILTER_ADDRESS, FILTER_EXCLUDED, FILTER_FAMILY, FILTER_NETNS, FILTER_PORT},
    read::Probed,
    sock,
};

/// Network namespaces to trace, by inode number; used if `FILTER_NETNS` is set.
#[btf_map]
pub static NETNS: HashMap<u32, u8, 1024> = HashMap::new();

/// Local ports to trace, host order; used if `FILTER_PORT` is set.
#[btf_map]
pub static PORTS: HashMap<u16, u8, 1024> = HashMap::new();

/// Local addresses to trace, as in [`RawEvent::server`]; used if `FILTER_ADDRESS` is set.
#[btf_map]
pub static ADDRESSES: HashMap<[u8; 16], u8, 1024> = HashMap::new();

/// Listeners not to trace, because their owner is known and not meant; used if `FILTER_EXCLUDED` is
/// set. One that nobody knows yet is traced.
#[btf_map]
pub static EXCLUDED: HashMap<ListenerKey, u8, 16384> = HashMap::new();

/// The maps above.
struct Maps;

impl Lists for Maps {
    #[inline(always)]
    fn port(&self, port: u16) -> Option<bool> {
        // SAFETY: the value is a plain byte that is only ever there or not.
        (FILTER_PORT.load() != 0).then(|| unsafe { PORTS.get(port) }.is_some())
    }

    #[inline(always)]
    fn netns(&self, netns: u32) -> Option<bool> {
        // SAFETY: as above.
        (FILTER_NETNS.load() != 0).then(|| unsafe { NETNS.get(netns) }.is_some())
    }

    #[inline(always)]
    fn excluded(&self, listener: impl FnOnce() -> ListenerKey) -> Option<bool> {
        // SAFETY: as above.
        (FILTER_EXCLUDED.load() != 0).then(|| unsafe { EXCLUDED.get(listener()) }.is_some())
    }

    #[inline(always)]
    fn address(&self, address: [u8; 16]) -> Option<bool> {
        // SAFETY: as above.
        (FILTER_ADDRESS.load() != 0).then(|| unsafe { ADDRESSES.get(address) }.is_some())
    }

    #[inline(always)]
    fn family(&self) -> u8 {
        FILTER_FAMILY.load()
    }
}

/// Whether anything in this network namespace may be traced.
#[inline(always)]
pub fn wants_netns(netns: u32) -> bool {
    Maps.netns(netns) != Some(false)
}

/// Whether a listener on `port` (host order) in namespace `netns` is to be traced.
#[inline(always)]
pub fn wants(port: u16, netns: u32) -> bool {
    filter::wants(&Maps, port, netns)
}

/// Whether the listener `sk` may be traced, as far as its owner tells.
#[inline(always)]
pub fn wants_socket(sk: u64, netns: u32) -> bool {
    filter::wants_socket(&Maps, || ListenerKey { netns, ino: sock::inode::<Probed>(sk) })
}

/// Whether a segment with these headers is to be traced.
#[inline(always)]
pub fn wants_segment(event: &RawEvent) -> bool {
    filter::wants_segment(&Maps, event)
}
