//! Which listeners and segments a trace is about. Pure: the lists themselves are elsewhere.

use crate::RawEvent;

/// A listening socket, wherever it listens.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenerKey {
    /// Inode number of its network namespace.
    pub netns: u32,
    /// Inode number of the socket.
    pub ino: u32,
}

/// The lists that a trace is restricted by. Each says whether something is in it, or `None` if
/// there is no such list.
pub trait Lists {
    /// Local ports to trace.
    fn port(&self, port: u16) -> Option<bool>;
    /// Network namespaces to trace.
    fn netns(&self, netns: u32) -> Option<bool>;
    /// Listeners not to trace; which one it is is asked only if there is such a list.
    fn excluded(&self, listener: impl FnOnce() -> ListenerKey) -> Option<bool>;
    /// Local addresses to trace, as in [`RawEvent::server`].
    fn address(&self, address: [u8; 16]) -> Option<bool>;
    /// IP version to trace, 4 or 6; 0 for both.
    fn family(&self) -> u8;
}

/// Whether a listener on `port` (host order) in namespace `netns` is to be traced.
#[inline(always)]
pub fn wants(lists: &impl Lists, port: u16, netns: u32) -> bool {
    lists.port(port) != Some(false) && lists.netns(netns) != Some(false)
}

/// Whether this listening socket may be traced: it is not one that somebody else is known to own.
#[inline(always)]
pub fn wants_socket(lists: &impl Lists, socket: impl FnOnce() -> ListenerKey) -> bool {
    lists.excluded(socket) != Some(true)
}

/// Whether a segment with these headers is to be traced.
#[inline(always)]
pub fn wants_segment(lists: &impl Lists, event: &RawEvent) -> bool {
    let family = lists.family();
    (family == 0 || family == event.family) && lists.address(event.server) != Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists that are there, or not.
    #[derive(Default)]
    struct Given {
        ports: Option<&'static [u16]>,
        netns: Option<&'static [u32]>,
        excluded: Option<&'static [ListenerKey]>,
        addresses: Option<&'static [[u8; 16]]>,
        family: u8,
    }

    impl Lists for Given {
        fn port(&self, port: u16) -> Option<bool> {
            Some(self.ports?.contains(&port))
        }
        fn netns(&self, netns: u32) -> Option<bool> {
            Some(self.netns?.contains(&netns))
        }
        fn excluded(&self, listener: impl FnOnce() -> ListenerKey) -> Option<bool> {
            Some(self.excluded?.contains(&listener()))
        }
        fn address(&self, address: [u8; 16]) -> Option<bool> {
            Some(self.addresses?.contains(&address))
        }
        fn family(&self) -> u8 {
            self.family
        }
    }

    const V4: [u8; 16] = [10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    fn segment(family: u8, server: [u8; 16]) -> RawEvent {
        RawEvent { server, family, ..RawEvent::EMPTY }
    }

    #[test]
    fn without_lists_everything_is_wanted() {
        let none = Given::default();
        assert!(wants(&none, 80, 1) && wants(&none, 0, 0));
        assert!(
            wants_segment(&none, &segment(4, V4)) && wants_segment(&none, &segment(6, [1; 16]))
        );
    }

    #[test]
    fn an_empty_list_of_what_to_trace_wants_nothing() {
        assert!(!wants(&Given { ports: Some(&[]), ..Given::default() }, 80, 1));
        assert!(!wants(&Given { netns: Some(&[]), ..Given::default() }, 80, 1));
        let addresses = Given { addresses: Some(&[]), ..Given::default() };
        assert!(!wants_segment(&addresses, &segment(4, V4)));
        // But an empty list of what not to trace wants everything.
        let socket = || ListenerKey { netns: 1, ino: 9 };
        assert!(wants_socket(&Given { excluded: Some(&[]), ..Given::default() }, socket));
    }

    #[test]
    fn port_and_namespace_must_both_be_listed() {
        let lists = Given { ports: Some(&[80, 443]), netns: Some(&[7]), ..Given::default() };
        assert!(wants(&lists, 80, 7) && wants(&lists, 443, 7));
        assert!(!wants(&lists, 81, 7) && !wants(&lists, 80, 8) && !wants(&lists, 7, 80));
    }

    #[test]
    fn a_listener_is_excluded_by_its_socket() {
        let lists =
            Given { excluded: Some(&[ListenerKey { netns: 7, ino: 80 }]), ..Given::default() };
        let wanted = |netns, ino| wants_socket(&lists, || ListenerKey { netns, ino });
        assert!(!wanted(7, 80));
        assert!(wanted(8, 80) && wanted(7, 81));
        // Where there is no list, nobody asks which it is.
        assert!(wants_socket(&Given::default(), || unreachable!()));
    }

    #[test]
    fn a_segment_must_have_the_family_and_a_listed_address() {
        let lists = Given { family: 4, addresses: Some(&[V4]), ..Given::default() };
        assert!(wants_segment(&lists, &segment(4, V4)));
        assert!(!wants_segment(&lists, &segment(6, V4)));
        let mut neighbour = V4;
        neighbour[3] = 2;
        assert!(!wants_segment(&lists, &segment(4, neighbour)));
        let six = Given { family: 6, ..Given::default() };
        assert!(wants_segment(&six, &segment(6, V4)) && !wants_segment(&six, &segment(4, V4)));
    }
}
