//! Clients that a listener refused: what each was left with, and how many they are.
//!
//! A client is a connection, and it is hurt when a listener refused it (`tcp_listendrop`) or reset it
//! unaccepted, however many of its segments that took. Each hurt client is in exactly one class.

use crate::verdict::{Class, Connection, Counter, Ends, Stage, VerdictId};

const SECOND: u64 = 1_000_000_000;
/// Bounds between delays, seconds: where SYNs and SYN-ACKs that back off are sent again.
pub const DELAY_BOUNDS_S: [u64; 6] = [1, 3, 7, 15, 31, 63];
/// The longest first retransmission timeout of a SYN that is in use: 3 s by RFC 1122, 1 s by RFC 6298.
const FIRST_TIMEOUT_NS: u64 = 3 * SECOND;

/// What refusal meant for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// It was refused at first and is in the accept queue now, or was.
    Delayed,
    /// None of its SYNs was taken, and it sends no more.
    NeverServed,
    /// It closed, or reset, a connection that it believed in before the server had taken it.
    GaveUp,
    /// It got an RST.
    Reset,
    /// It believes that it is connected, and the server has nothing.
    Phantom,
    /// It or the kernel still tries.
    Waiting,
}

/// A client that was hurt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hurt {
    /// How.
    pub harm: Harm,
    /// When it was first refused, CLOCK_MONOTONIC nanoseconds.
    pub since_ns: u64,
    /// When that was over, or when it was last refused.
    pub until_ns: u64,
}

/// How many clients were hurt, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HurtClients {
    /// Delayed ones by how long: below each of [`DELAY_BOUNDS_S`], and above the last.
    pub delayed: [u64; DELAY_BOUNDS_S.len() + 1],
    /// The longest delay, nanoseconds.
    pub longest_delay_ns: u64,
    /// See [`Harm::NeverServed`].
    pub never_served: u64,
    /// See [`Harm::GaveUp`].
    pub gave_up: u64,
    /// See [`Harm::Reset`].
    pub reset: u64,
    /// See [`Harm::Phantom`].
    pub phantom: u64,
    /// See [`Harm::Waiting`].
    pub waiting: u64,
    /// From the first refusal to the last moment that anybody was hurt, CLOCK_MONOTONIC nanoseconds;
    /// `None` where nobody was.
    pub period_ns: Option<(u64, u64)>,
}

/// Whether this made a client's handshake worse than it had to be: its segment was refused, and
/// `tcp_listendrop` may have counted that, or its child was reset before anybody accepted it.
pub fn hurts(id: VerdictId) -> bool {
    let drops = || id.counters().iter().any(|effect| effect.counter == Counter::ListenDrops);
    (id.class().refuses() && drops())
        || matches!(id, VerdictId::LaterListenerClosed | VerdictId::LaterResetByServer)
}

/// What a connection suffered; `None` where nothing was refused, or where it was taken before.
///
/// `now_ns`: the time until which nothing more was seen of it, where more can come.
pub fn hurt(connection: &Connection, now_ns: Option<u64>) -> Option<Hurt> {
    let first = connection.stages.iter().position(|stage| hurts(stage.id))?;
    let stages = &connection.stages[first..];
    let since_ns = stages[0].t_ns;
    let outcome = connection.outcome?;
    let taken = stages.iter().rev().find(|stage| stage.id.leaves_child());
    let last = |stage: &Stage| stage.repeats_ns.last().map_or(stage.t_ns, |t| stage.t_ns.max(*t));
    let refused = stages.iter().filter(|stage| hurts(stage.id)).map(last).max();
    let end = stages.iter().map(last).max();
    let believes = || stages.iter().any(|s| s.id.class() == Class::AckDropped && hurts(s.id));
    let lost = || if believes() { Harm::Phantom } else { Harm::NeverServed };
    let (harm, until_ns) = if outcome.came_through() {
        (Harm::Delayed, Some(taken?.t_ns))
    } else if gave_up(connection, outcome) {
        (Harm::GaveUp, end)
    } else if outcome.class() == Class::AckReset || outcome.ends() == Ends::ByServerReset {
        (Harm::Reset, end)
    } else if outcome.is_dropped_syn() {
        let tries = now_ns.is_some_and(|now| may_try_again(stages, now));
        (if tries { Harm::Waiting } else { Harm::NeverServed }, refused)
    } else if outcome == VerdictId::LaterPending && now_ns.is_some() {
        (Harm::Waiting, refused)
    } else {
        (lost(), refused)
    };
    Some(Hurt { harm, since_ns, until_ns: until_ns.unwrap_or(since_ns) })
}

fn gave_up(connection: &Connection, outcome: VerdictId) -> bool {
    connection.gave_up
        || outcome == VerdictId::LaterRecoveredTooLate
        || match outcome.ends() {
            Ends::RequestByClient | Ends::ChildByClient => true,
            Ends::Nothing | Ends::RequestTimer | Ends::RequestUnseen | Ends::ByServerReset => false,
        }
}

/// Whether the next of these SYNs is not yet overdue: the time to the next is at most twice that
/// between the last two.
fn may_try_again(stages: &[Stage], now_ns: u64) -> bool {
    let dropped = stages.iter().filter(|stage| stage.id.is_dropped_syn());
    let mut times: Vec<u64> =
        dropped.flat_map(|stage| stage.repeats_ns.iter().copied().chain([stage.t_ns])).collect();
    times.sort_unstable();
    let Some(last) = times.last() else { return false };
    let gap = times.iter().rev().nth(1).map_or(0, |before| last.abs_diff(*before));
    // A timer may be an eighth late (v4.8, 500462a9de65).
    let timeout = gap.saturating_mul(2).max(FIRST_TIMEOUT_NS);
    now_ns.saturating_sub(*last) <= timeout.saturating_add(timeout / 8)
}

impl HurtClients {
    /// One more.
    pub fn count(&mut self, hurt: Hurt) {
        let Hurt { harm, since_ns, until_ns } = hurt;
        let until_ns = until_ns.max(since_ns);
        let number = match harm {
            Harm::Delayed => {
                let delay = until_ns.saturating_sub(since_ns);
                self.longest_delay_ns = self.longest_delay_ns.max(delay);
                let below = DELAY_BOUNDS_S.iter().position(|bound| delay < bound * SECOND);
                &mut self.delayed[below.unwrap_or(DELAY_BOUNDS_S.len())]
            }
            Harm::NeverServed => &mut self.never_served,
            Harm::GaveUp => &mut self.gave_up,
            Harm::Reset => &mut self.reset,
            Harm::Phantom => &mut self.phantom,
            Harm::Waiting => &mut self.waiting,
        };
        *number += 1;
        self.extend((since_ns, until_ns));
    }

    /// Those of another listener too.
    pub fn add(&mut self, more: &Self) {
        let Self {
            delayed,
            longest_delay_ns,
            never_served,
            gave_up,
            reset,
            phantom,
            waiting,
            period_ns,
        } = more;
        for (sum, more) in self.delayed.iter_mut().zip(delayed) {
            *sum += more;
        }
        self.longest_delay_ns = self.longest_delay_ns.max(*longest_delay_ns);
        self.never_served += never_served;
        self.gave_up += gave_up;
        self.reset += reset;
        self.phantom += phantom;
        self.waiting += waiting;
        if let Some(period) = period_ns {
            self.extend(*period);
        }
    }

    /// How many were delayed.
    pub fn delayed(&self) -> u64 {
        self.delayed.iter().sum()
    }

    /// How many were hurt in any way.
    pub fn total(&self) -> u64 {
        let Self { never_served, gave_up, reset, phantom, waiting, .. } = self;
        self.delayed() + never_served + gave_up + reset + phantom + waiting
    }

    fn extend(&mut self, (from, to): (u64, u64)) {
        let (first, last) = self.period_ns.unwrap_or((from, to));
        self.period_ns = Some((first.min(from), last.max(to)));
    }
}

#[cfg(test)]
mod tests {
    use VerdictId::{
        AckAccepted, AckDropDeferAccept, AckDropOverflow, AckDropOverflowCookie, AckDropPaws,
        AckResetInvalidCookie, AckResetOverflow, LaterAcceptedByApp, LaterListenerClosed,
        LaterPending, LaterPhantom, LaterRecovered, LaterRecoveredTooLate, LaterRequestExpired,
        SynCookie, SynDropAcceptQueueFull, SynQueued,
    };

    use super::*;
    use crate::verdict::{Known, Values};

    /// A connection with these stages, each at so many milliseconds and again, and what became of it.
    fn connection(stages: &[(VerdictId, &[u64])], outcome: VerdictId) -> Connection {
        let ns = |ms: &u64| ms * 1_000_000;
        let stage = |(id, ms): &(VerdictId, &[u64])| Stage {
            id: *id,
            t_ns: ns(&ms[0]),
            known: Known::Traced,
            path: &[],
            values: Values::default(),
            repeats_ns: ms[1..].iter().map(ns).collect(),
        };
        let stages = stages.iter().map(stage).collect();
        Connection { stages, outcome: Some(outcome), ..Connection::default() }
    }

    /// The harm to such a connection, and how many milliseconds it lasted, when nothing more was seen
    /// for 20 seconds.
    fn harm(stages: &[(VerdictId, &[u64])], outcome: VerdictId) -> Option<(Harm, u64)> {
        let connection = connection(stages, outcome);
        let end = stages.iter().flat_map(|(_, ms)| *ms).max().unwrap();
        let hurt = hurt(&connection, Some((end + 20_000) * 1_000_000))?;
        Some((hurt.harm, (hurt.until_ns - hurt.since_ns) / 1_000_000))
    }

    #[test]
    fn nobody_is_hurt_who_was_not_refused() {
        assert_eq!(harm(&[(SynQueued, &[0]), (AckAccepted, &[1])], AckAccepted), None);
        assert_eq!(harm(&[(SynCookie, &[0])], SynCookie), None);
        assert_eq!(harm(&[(SynQueued, &[0]), (AckDropDeferAccept, &[1])], LaterPending), None);
        // A segment that is no good is its sender's own affair.
        assert_eq!(harm(&[(SynQueued, &[0]), (AckDropPaws, &[1])], LaterPending), None);
        assert_eq!(harm(&[(AckResetInvalidCookie, &[0])], AckResetInvalidCookie), None);
    }

    #[test]
    fn who_gets_in_was_delayed_from_the_first_refusal_on() {
        let syns = (SynDropAcceptQueueFull, &[0, 1030][..]);
        let stages = [syns, (SynQueued, &[3060]), (AckAccepted, &[3061])];
        assert_eq!(harm(&stages, AckAccepted), Some((Harm::Delayed, 3061)));
        // The default trace sees no SYN that is taken.
        assert_eq!(harm(&[stages[0], stages[2]], AckAccepted), Some((Harm::Delayed, 3061)));
        let stages = [
            (SynQueued, &[0][..]),
            (AckDropOverflow, &[1, 1020]),
            (LaterRecovered, &[3040]),
            (AckAccepted, &[3040]),
        ];
        assert_eq!(harm(&stages, LaterRecovered), Some((Harm::Delayed, 3039)));
        let accepted = [&stages[..], &[(LaterAcceptedByApp, &[3100])]].concat();
        assert_eq!(harm(&accepted, LaterAcceptedByApp), Some((Harm::Delayed, 3039)));
        let closed = [&stages[..], &[(LaterListenerClosed, &[5000])]].concat();
        assert_eq!(harm(&closed, LaterListenerClosed), Some((Harm::Reset, 4999)));
    }

    #[test]
    fn who_does_not_get_in_is_in_one_class() {
        let syns = (SynDropAcceptQueueFull, &[0, 1030, 3060][..]);
        assert_eq!(harm(&[syns], SynDropAcceptQueueFull), Some((Harm::NeverServed, 3060)));
        let (queued, dropped) = ((SynQueued, &[0][..]), (AckDropOverflow, &[1, 1020][..]));
        assert_eq!(harm(&[queued, dropped], LaterPending), Some((Harm::Waiting, 1019)));
        let expired = [queued, dropped, (LaterRequestExpired, &[63_000])];
        assert_eq!(harm(&expired, LaterRequestExpired), Some((Harm::Phantom, 1019)));
        let reset = [queued, (AckResetOverflow, &[1])];
        assert_eq!(harm(&reset, AckResetOverflow), Some((Harm::Reset, 0)));
        let cookie = [(SynCookie, &[0][..]), (AckDropOverflowCookie, &[1, 201])];
        assert_eq!(harm(&cookie, LaterPhantom), Some((Harm::Phantom, 200)));
        let late = [&cookie[..], &[(AckResetInvalidCookie, &[118_000])]].concat();
        assert_eq!(harm(&late, AckResetInvalidCookie), Some((Harm::Reset, 117_999)));
        let late = [queued, dropped, (LaterRecoveredTooLate, &[7000]), (AckAccepted, &[7000])];
        assert_eq!(harm(&late, LaterRecoveredTooLate), Some((Harm::GaveUp, 6999)));
        let closed = Connection { gave_up: true, ..connection(&cookie, AckDropOverflowCookie) };
        assert_eq!(hurt(&closed, None).unwrap().harm, Harm::GaveUp);
        // It was in the queue, and nobody ever accepted it.
        let unaccepted = [queued, (AckAccepted, &[1]), (LaterListenerClosed, &[5000])];
        assert_eq!(harm(&unaccepted, LaterListenerClosed), Some((Harm::Reset, 0)));
    }

    #[test]
    fn a_syn_is_sent_again_after_twice_the_time_at_most() {
        let harm_at = |times: &[u64], now_ms: u64| {
            let connection = connection(&[(SynDropAcceptQueueFull, times)], SynDropAcceptQueueFull);
            hurt(&connection, Some(now_ms * 1_000_000)).unwrap().harm
        };
        assert_eq!(harm_at(&[0], 2900), Harm::Waiting);
        assert_eq!(harm_at(&[0], 3500), Harm::NeverServed);
        assert_eq!(harm_at(&[0, 1000, 3000, 7000], 15_500), Harm::Waiting);
        assert_eq!(harm_at(&[0, 1000, 3000, 7000], 16_100), Harm::NeverServed);
        // Nothing more can come.
        let connection = connection(&[(SynDropAcceptQueueFull, &[0])], SynDropAcceptQueueFull);
        assert_eq!(hurt(&connection, None).unwrap().harm, Harm::NeverServed);
    }

    #[test]
    fn counts_add_up() {
        let hurt = |harm, since_s: u64, until_s: u64| Hurt {
            harm,
            since_ns: since_s * SECOND,
            until_ns: until_s * SECOND,
        };
        let mut one = HurtClients::default();
        one.count(hurt(Harm::Delayed, 10, 11));
        one.count(hurt(Harm::Delayed, 10, 10));
        one.count(hurt(Harm::NeverServed, 12, 15));
        let mut other = HurtClients::default();
        other.count(hurt(Harm::Delayed, 5, 70));
        other.count(hurt(Harm::Phantom, 20, 20));
        one.add(&other);
        one.add(&HurtClients::default());
        assert_eq!((one.delayed, one.longest_delay_ns), ([1, 1, 0, 0, 0, 0, 1], 65 * SECOND));
        assert_eq!((one.delayed(), one.total()), (3, 5));
        assert_eq!(one.period_ns, Some((5 * SECOND, 70 * SECOND)));
    }
}
