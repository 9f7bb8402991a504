//! Early exits: is this segment or socket wanted at all?

use overflow_common::Event;

use crate::{
    globals::{FILTER_ADDRESS, FILTER_FAMILY, FILTER_NETNS, FILTER_OTHERS, FILTER_PORT},
    maps::{ADDRESSES, ListenerKey, NETNS, OTHERS, PORTS},
};

/// Whether a listener on `port` (host order) in namespace `netns` is to be traced.
#[inline(always)]
pub fn wants(port: u16, netns: u32) -> bool {
    // SAFETY (all three): the values are plain bytes that are only ever there or not.
    (FILTER_PORT.load() == 0 || unsafe { PORTS.get(port) }.is_some())
        && (FILTER_NETNS.load() == 0 || unsafe { NETNS.get(netns) }.is_some())
        && (FILTER_OTHERS.load() == 0
            || unsafe { OTHERS.get(ListenerKey { netns, port: port.into() }) }.is_none())
}

/// Whether a segment with these headers is to be traced.
#[inline(always)]
pub fn wants_segment(event: &Event) -> bool {
    let family = FILTER_FAMILY.load();
    // SAFETY: as above.
    (family == 0 || family == event.family)
        && (FILTER_ADDRESS.load() == 0 || unsafe { ADDRESSES.get(event.server) }.is_some())
}
