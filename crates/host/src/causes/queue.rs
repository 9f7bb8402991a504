//! Samples of accept queues, in the calling thread's network namespace.

use std::{
    io, mem,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use overflow_core::{
    cause::evidence::{QueueSample, Rises, Waiting},
    listeners::{Inventory, Listener},
    tcp_state::TcpState,
};

use crate::{
    clock::monotonic_ns,
    counters::Group,
    sockets::{
        Family, TcpSocket,
        sock_diag::{self, Wanted},
    },
};

/// From one sample to the next.
const STEP: Duration = Duration::from_millis(20);
/// How long is looked at least.
const SHORT: Duration = Duration::from_millis(200);
/// How long is looked at a queue that moves, or while the SYN queue is full: a burst is told from
/// overload, and cookies from far away come back.
const LONG: Duration = Duration::from_secs(1);

/// A listener to be looked at.
pub(super) struct Asked<'a> {
    pub(super) listener: &'a Listener,
    /// All listeners, of which connections and requests may be instead.
    pub(super) inventory: &'a Inventory,
    /// Requests at which the SYN queue is full.
    pub(super) syn_queue_limit: Option<u32>,
}

impl Asked<'_> {
    /// Whether what came to this address is this listener's, or one's of its group.
    fn owns(&self, at: SocketAddr) -> bool {
        let found = self.inventory.find(self.listener.netns, at);
        found.iter().any(|l| l.inode == self.listener.inode)
    }
}

/// What was seen of one listener.
#[derive(Clone, Debug, Default)]
pub(super) struct Sampled {
    /// The socket's family, if it is another one than its address's.
    family: Option<Family>,
    pub(super) queue: Vec<QueueSample>,
    /// As it was last seen; `None` if it has gone.
    pub(super) last: Option<TcpSocket>,
    /// Requests in the SYN queue of its address.
    pub(super) syn_recv: u32,
    pub(super) waiting: Option<Waiting>,
    pub(super) resent: Option<u32>,
    /// Others at the same address: inode, queue and limit.
    pub(super) others: Vec<TcpSocket>,
    pub(super) rises: Option<Rises>,
}

/// Looks at these listeners for a while.
pub(super) fn sample(asked: &[Asked<'_>]) -> io::Result<Vec<Sampled>> {
    let mut sampled = vec![Sampled::default(); asked.len()];
    let before = counters();
    let began = Instant::now();
    let mut counted = false;
    loop {
        for (listener, seen) in asked.iter().zip(&mut sampled) {
            one(listener, seen)?;
        }
        // Only now is it known of which family each socket is.
        if !mem::replace(&mut counted, true) {
            requests(asked, &mut sampled)?;
        }
        let passed = began.elapsed();
        let moves = || {
            // A queue that is refilled at once looks full all the time, but children are made.
            let opened =
                before.zip(counters()).is_none_or(|(b, a)| a.passive_opens > b.passive_opens);
            asked.iter().zip(&sampled).any(|(asked, seen)| seen.moves(asked, opened))
        };
        if passed >= LONG || (passed >= SHORT && !moves()) {
            break;
        }
        thread::sleep(STEP);
    }
    let rises = before.zip(counters()).map(|(before, after)| Rises {
        passive_opens: after.passive_opens.saturating_sub(before.passive_opens),
        cookies_sent: after.cookies_sent.saturating_sub(before.cookies_sent),
        cookies_back: after.cookies_back.saturating_sub(before.cookies_back),
    });
    requests(asked, &mut sampled)?;
    for (listener, seen) in asked.iter().zip(&mut sampled) {
        seen.rises = rises;
        // Whose of a group they are does not show.
        if listener.listener.group == 1 {
            let Listener { local, .. } = listener.listener;
            let family = seen.family.unwrap_or_else(|| Family::of(local.ip()));
            let found = sock_diag::unaccepted_at(family, local.port())?;
            let own = found.into_iter().filter(|(at, _)| listener.owns(*at));
            seen.waiting = waiting(own.map(|(_, age)| age));
        }
    }
    Ok(sampled)
}

impl Sampled {
    /// Whether more of it is worth looking at; `opened`: whether children were made in its namespace.
    fn moves(&self, asked: &Asked<'_>, opened: bool) -> bool {
        let shorter = self.queue.windows(2).any(|w| w[1].recv_q < w[0].recv_q);
        let drops = |s: Option<&QueueSample>| s.and_then(|s| s.drops);
        let refused = drops(self.queue.first()) != drops(self.queue.last());
        shorter
            || (refused && opened)
            || asked.syn_queue_limit.is_some_and(|n| n > 0 && self.syn_recv >= n)
    }
}

fn one(asked: &Asked<'_>, seen: &mut Sampled) -> io::Result<()> {
    let Listener { local, v6only, inode, .. } = asked.listener;
    let family = seen.family.unwrap_or_else(|| Family::of(local.ip()));
    let at = |family| sock_diag::sockets_at(family, Wanted::Listeners, local.port());
    let mut found = at(family)?;
    let has = |found: &[TcpSocket]| found.iter().any(|s| s.is_listener() && s.inode == *inode);
    // Java binds IPv6 sockets to IPv4 addresses.
    if !has(&found)
        && let Ok(others) = at(Family::V6)
        && has(&others)
    {
        (found, seen.family) = (others, Some(Family::V6));
    }
    let t_ns = monotonic_ns();
    seen.last = found.iter().find(|s| s.is_listener() && s.inode == *inode).cloned();
    if let Some(now) = &seen.last {
        seen.queue.push(QueueSample { t_ns, recv_q: now.recv_q, drops: now.drops });
    }
    let other = |s: &&TcpSocket| {
        s.is_listener() && s.inode != *inode && (s.local, s.v6only) == (*local, *v6only)
    };
    seen.others = found.iter().filter(other).cloned().collect();
    Ok(())
}

/// Counts the requests of each, which is not done with every sample: the kernel goes through all
/// connections of the host for them.
fn requests(asked: &[Asked<'_>], sampled: &mut [Sampled]) -> io::Result<()> {
    for (asked, seen) in asked.iter().zip(sampled) {
        let local = asked.listener.local;
        let family = seen.family.unwrap_or_else(|| Family::of(local.ip()));
        let mut found = sock_diag::sockets_at(family, Wanted::Requests, local.port())?;
        let states = [TcpState::SynRecv, TcpState::NewSynRecv].map(TcpState::number);
        found.retain(|s| states.contains(&s.state) && asked.owns(s.local));
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        seen.syn_recv = count(found.len());
        seen.resent = Some(count(found.iter().filter(|s| s.retransmits > 0).count()));
    }
    Ok(())
}

/// What these ages, in milliseconds, are together; nothing waits for `accept()` if there are none.
fn waiting(ages: impl Iterator<Item = u32>) -> Option<Waiting> {
    let ages: Vec<u64> = ages.map(|ms| u64::from(ms) * 1_000_000).collect();
    Some(Waiting {
        count: u32::try_from(ages.len()).unwrap_or(u32::MAX),
        oldest_ns: *ages.iter().max()?,
        newest_ns: *ages.iter().min()?,
    })
}

/// The counters as they stand.
fn counters() -> Option<Rises> {
    let tcp = Group::Tcp.read().ok()?;
    let ext = Group::TcpExt.read().ok()?;
    Some(Rises {
        passive_opens: *tcp.get("PassiveOpens")?,
        cookies_sent: *ext.get("SyncookiesSent")?,
        cookies_back: *ext.get("SyncookiesRecv")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_the_oldest_and_the_newest() {
        let expected = Waiting { count: 3, oldest_ns: 900_000_000, newest_ns: 4_000_000 };
        assert_eq!(waiting([30, 900, 4].into_iter()), Some(expected));
        assert_eq!(waiting(std::iter::empty()), None);
    }
}
