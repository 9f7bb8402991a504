//! Early exits: is this segment or socket wanted at all?

use crate::{
    globals::{FILTER_NETNS, FILTER_PORT},
    maps::NETNS,
};

/// Whether a listener on `port` (host order) in namespace `netns` is to be traced.
#[inline(always)]
pub fn wants(port: u16, netns: u32) -> bool {
    let only = FILTER_PORT.load();
    if only != 0 && only != port {
        return false;
    }
    // SAFETY: the value is a plain byte that nobody writes after load.
    FILTER_NETNS.load() == 0 || unsafe { NETNS.get(netns) }.is_some()
}
