//! What happens in a cell beside the burst: plain data, no I/O.

use crate::ends::crafted::Crafted;

/// A scenario's part in a cell: how the sides are set up, and what they do after the burst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// The scenario's name; empty for a cell without one.
    pub name: &'static str,
    /// What is different from a plain listener and plain clients.
    pub setup: &'static [Setup],
    /// What is done after the burst, in order of time.
    pub steps: &'static [Step],
}

/// One difference from a plain listener and plain clients, in force before the first SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// A sysctl of the server's namespace, by its name below `net.`.
    Sysctl(&'static str, u32),
    /// A sysctl that must belong to the namespace, because a step will change it.
    NeedsSysctl(&'static str),
    /// A step will destroy sockets.
    NeedsDestroy,
    /// A sysctl of the clients' namespace.
    ClientSysctl(&'static str, u32),
    /// `TCP_DEFER_ACCEPT`, seconds.
    DeferAccept(u32),
    /// `TCP_FASTOPEN`: the most children that may wait for their third ACK; the clients send data
    /// in their SYNs.
    FastOpen(u32),
    /// `SO_MARK` of the listener: its requests keep the mark, and are routed by it.
    Mark(u32),
    /// Everything with this mark is unroutable at the server (a rule of policy routing).
    Unroutable(u32),
    /// A socket filter that lets everything pass; each child's copy is charged to it.
    Filter,
    /// `IPPROTO_MPTCP` on both sides.
    Mptcp,
    /// `SO_REUSEPORT`.
    ReusePort,
    /// `SO_KEEPALIVE` of the listener, which its children inherit: a probe after this many seconds
    /// of silence, and no patience after it but as many seconds again.
    KeepAlive(u32),
}

/// Something done at a certain time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Milliseconds after the burst's first `connect()`.
    pub at_ms: u64,
    /// What.
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `listen(2)` again, which changes the backlog and nothing else (`inet_listen` in
    /// net/ipv4/af_inet.c only stores `sk_max_ack_backlog` on a socket that listens).
    Listen(u32),
    /// `accept(2)` from now on; what is accepted is greeted with one byte and stays open.
    Accept,
    /// Closes the listener.
    Close,
    /// Opens a second listener on the same port, with this backlog; closes the first.
    Replace(u32),
    /// Sets a sysctl of the server's namespace.
    Sysctl(&'static str, u32),
    /// Sets the listener's `SO_MARK`.
    Mark(u32),
    /// Makes everything with this mark unroutable at the server (a rule of policy routing).
    Unroutable(u32),
    /// Each client of the burst that believes it is connected sends so often so many bytes.
    Send {
        /// Segments, sent back to back.
        segments: u32,
        /// Bytes in each.
        bytes: usize,
    },
    /// Destroys everything that the server has of the port but the listener (`SOCK_DESTROY`, as
    /// `ss -K`).
    Destroy,
    /// Connections made by hand; the steps go on meanwhile.
    Craft(&'static [Crafted]),
}

impl Script {
    /// Whether this difference is part of it.
    pub fn has(&self, setup: Setup) -> bool {
        self.setup.contains(&setup)
    }

    /// The fast-open queue's limit, if the listener has one.
    pub(crate) fn fast_open(&self) -> Option<u32> {
        self.setup.iter().find_map(|s| match s {
            Setup::FastOpen(max) => Some(*max),
            _ => None,
        })
    }

    /// Whether nothing happens beside the burst that would keep packets and counters from telling the rest:
    /// nobody accepts, nothing goes away, and each third ACK is judged when it comes.
    pub(crate) fn is_plain(&self) -> bool {
        let harmless = |setup: &Setup| match setup {
            Setup::Sysctl(..) | Setup::NeedsSysctl(_) | Setup::ClientSysctl(..) => true,
            Setup::NeedsDestroy
            | Setup::DeferAccept(_)
            | Setup::FastOpen(_)
            | Setup::Mark(_)
            | Setup::Unroutable(_)
            | Setup::Filter
            | Setup::Mptcp
            | Setup::ReusePort
            | Setup::KeepAlive(_) => false,
        };
        self.steps.is_empty() && self.setup.iter().all(harmless)
    }

    /// Whether some connection is made by hand.
    pub(crate) fn crafts(&self) -> bool {
        self.steps.iter().any(|s| matches!(s.action, Action::Craft(_)))
    }
}
