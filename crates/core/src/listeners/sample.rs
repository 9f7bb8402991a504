//! Listeners for tests, of this crate and of those that use it.

use super::Listener;

/// A listener at `local`, with a limit of 128.
///
/// # Panics
/// Where `local` is no socket address.
pub fn listener(local: &str) -> Listener {
    Listener {
        netns: 1,
        local: local.parse().unwrap(),
        v6only: false,
        inode: 7,
        uid: 0,
        recv_q: 0,
        send_q: Some(128),
        syn_recv: Some(0),
        drops: None,
        cgroup_id: None,
        group: 1,
        owner: None,
    }
}
