//! Listeners that the last look does not show: closed before it, or noted at `listen()` alone. What
//! happened to them before may be read after it.

use std::{collections::HashMap, mem};

use overflow_core::listeners::{Inventory, Listener};

/// So many of them are kept at least, and at most twice as many.
const AT_LEAST: usize = 1 << 12;

/// Listeners by network namespace and inode.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    recent: HashMap<(u32, u32), Listener>,
    earlier: HashMap<(u32, u32), Listener>,
}

impl Remembered {
    /// What is known of this socket.
    pub(crate) fn get(&self, netns: u32, ino: u32) -> Option<&Listener> {
        self.recent.get(&(netns, ino)).or_else(|| self.earlier.get(&(netns, ino)))
    }

    /// Keeps what is known of this socket. Those kept longest ago make room.
    pub(crate) fn keep(&mut self, ino: u32, listener: Listener) {
        if self.recent.len() >= AT_LEAST {
            self.earlier = mem::take(&mut self.recent);
        }
        self.recent.insert((listener.netns, ino), listener);
    }

    /// Keeps those that were there and are not any more.
    pub(crate) fn keep_gone(&mut self, earlier: &Inventory, now: &Inventory) {
        for listener in &earlier.listeners {
            if let Ok(ino @ 1..) = u32::try_from(listener.inode)
                && now.find_socket(listener.netns, ino).is_none()
            {
                self.keep(ino, listener.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(netns: u32, inode: u64) -> Listener {
        let opener = overflow_common::Opener { family: 4, ..Default::default() };
        Listener { inode, ..Listener::opened((netns, 1), &opener, 80, None) }
    }

    #[test]
    fn those_that_are_gone_are_kept() {
        let mut there = Inventory::default();
        there.listeners.extend([listener(7, 33), listener(7, 34), listener(8, 34), listener(7, 0)]);
        let (there, mut now) = (there.indexed(), Inventory::default());
        now.listeners.push(listener(7, 34));
        let mut kept = Remembered::default();
        kept.keep_gone(&there, &now.indexed());
        let known = |netns, ino| kept.get(netns, ino).map(|l| (l.netns, l.inode));
        assert_eq!(known(7, 33), Some((7, 33)));
        assert_eq!(known(8, 34), Some((8, 34)));
        assert_eq!((known(7, 34), known(7, 0)), (None, None));
    }

    #[test]
    fn there_is_room_for_the_latest() {
        let mut kept = Remembered::default();
        let many = 5 * u32::try_from(AT_LEAST).unwrap() / 2;
        for ino in 1..=many {
            kept.keep(ino, listener(7, ino.into()));
        }
        assert!(kept.recent.len() + kept.earlier.len() <= 2 * AT_LEAST);
        let at_least = u32::try_from(AT_LEAST).unwrap();
        assert!((many - at_least..=many).all(|ino| kept.get(7, ino).is_some()));
        assert!(kept.get(7, 1).is_none());
    }
}
