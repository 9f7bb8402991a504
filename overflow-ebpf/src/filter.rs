//! Early exits: is this segment or socket wanted at all?

use overflow_common::Event;

use crate::{
    globals::{FILTER_ADDRESS, FILTER_FAMILY, FILTER_NETNS, FILTER_OTHERS, FILTER_PORT},
    maps::{ADDRESSES, ListenerKey, NETNS, OTHERS, PORTS},
};

/// Whether a listener on `port` (host order) in namespace `netns` is to be traced.
#[inline(always)]
pub fn wants(port: u16, netns: u32) -> bool {
    // SAFETY: the value is a plain byte that is only ever there or not.
    let port_meant = || unsafe { PORTS.get(port) }.is_some();
    // SAFETY: as above.
    let netns_meant = || unsafe { NETNS.get(netns) }.is_some();
    let listener = ListenerKey { netns, port: port.into() };
    // SAFETY: as above.
    let others = || unsafe { OTHERS.get(listener) }.is_some();
    (FILTER_PORT.load() == 0 || port_meant())
        && (FILTER_NETNS.load() == 0 || netns_meant())
        && (FILTER_OTHERS.load() == 0 || !others())
}

/// Whether a segment with these headers is to be traced.
#[inline(always)]
pub fn wants_segment(event: &Event) -> bool {
    let family = FILTER_FAMILY.load();
    // SAFETY: as above.
    let address_meant = || unsafe { ADDRESSES.get(event.server) }.is_some();
    (family == 0 || family == event.family) && (FILTER_ADDRESS.load() == 0 || address_meant())
}
