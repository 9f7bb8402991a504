//! A server with a single processor: it works segments off one after the other, and while it does,
//! hardly anybody else runs.

use super::time::{Nanos, US};
use crate::verdict::VerdictId;

/// How long segments hold an application up at most, where they come faster than they are worked off.
/// `__do_softirq()` hands over to ksoftirqd as soon as somebody else is to run, or after
/// `MAX_SOFTIRQ_TIME` (2 ms); from then on the scheduler shares the processor among them.
pub const HOLD: Nanos = 1_200 * US;

/// A server's only processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processor {
    /// How long it takes for each segment.
    pub costs: Costs,
    /// How long segments hold an application up at most, see [`HOLD`].
    pub hold: Nanos,
    /// Whether an application that sleeps in `accept()` runs as soon as it is woken: CFS lets it
    /// (`check_preempt_wakeup`), EEVDF, since 147f3efaa241 (6.6), seldom does.
    pub preempts: bool,
    /// Whether the clients run on it too.
    pub clients: bool,
}

/// What a segment costs, nanoseconds, by what the server does with it: an answer costs more than none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs([Nanos; Kind::ALL.len()]);

/// What is done with a segment, as far as it costs differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A SYN that gets no answer.
    SynDropped,
    /// A SYN that is answered with a cookie.
    SynCookie,
    /// A SYN for which a request is queued.
    SynQueued,
    /// An ACK that makes a child.
    Child,
    /// Any other ACK.
    Other,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::SynDropped, Self::SynCookie, Self::SynQueued, Self::Child, Self::Other];

    /// Of what was decided.
    pub(crate) fn of(id: VerdictId) -> Self {
        match id {
            VerdictId::SynQueued => Self::SynQueued,
            VerdictId::SynCookie => Self::SynCookie,
            id if id.is_syn() => Self::SynDropped,
            id if id.is_accepted() => Self::Child,
            _ => Self::Other,
        }
    }
}

impl Costs {
    /// The same for all.
    pub fn even(each: Nanos) -> Self {
        Self([each; Kind::ALL.len()])
    }

    /// By kind.
    pub(crate) fn by_kind(cost: impl Fn(Kind) -> Nanos) -> Self {
        Self(Kind::ALL.map(cost))
    }

    /// That of the cheapest kind.
    pub(crate) fn least(&self) -> Nanos {
        self.0.into_iter().min().unwrap_or(0)
    }

    /// So many parts of a hundred more.
    pub(crate) fn longer(self, percent: Nanos) -> Self {
        Self(self.0.map(|cost| cost + cost / 100 * percent))
    }

    pub(crate) fn of(&self, kind: Kind) -> Nanos {
        self.0[kind as usize]
    }
}
