//! What became of a client, in one word and one mark.

use overflow_core::{
    clients::{Harm, hurt},
    verdict::{Connection, VerdictId},
};

/// What became of a client: the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// It believes that it is connected, and the server has nothing.
    Phantom,
    /// It got an RST.
    Reset,
    /// None of its SYNs was taken.
    NeverServed,
    /// It closed what it believed in before the server had taken it.
    GaveUp,
    /// It or the kernel still tries.
    Waiting,
    /// It was refused at first and got in later.
    Delayed,
    /// It did not come through, for a reason other than a refusal.
    Other,
    /// Nobody can tell.
    Unknown,
    /// It is connected, and nothing was refused.
    Connected,
}

impl Fate {
    /// All of them, the worst first.
    pub(crate) const ALL: [Self; 9] = [
        Self::Phantom,
        Self::Reset,
        Self::NeverServed,
        Self::GaveUp,
        Self::Waiting,
        Self::Delayed,
        Self::Other,
        Self::Unknown,
        Self::Connected,
    ];

    /// Of a connection that was traced.
    ///
    /// `lab`: its listener closes when the experiment is over, which says nothing of the client: what
    /// it had by then counts.
    pub(crate) fn of(connection: &Connection, lab: bool) -> Self {
        let closed = lab && connection.outcome == Some(VerdictId::LaterListenerClosed);
        if closed {
            let mut until = connection.clone();
            until.stages.retain(|stage| stage.id != VerdictId::LaterListenerClosed);
            until.outcome = until.stages.last().map(|stage| stage.id);
            return Self::of(&until, false);
        }
        match (hurt(connection, None), connection.outcome) {
            (Some(hurt), _) => match hurt.harm {
                Harm::Phantom => Self::Phantom,
                Harm::Reset => Self::Reset,
                Harm::NeverServed => Self::NeverServed,
                Harm::GaveUp => Self::GaveUp,
                Harm::Waiting => Self::Waiting,
                Harm::Delayed => Self::Delayed,
            },
            (None, Some(outcome)) if outcome.came_through() => Self::Connected,
            (None, Some(_)) => Self::Other,
            (None, None) => Self::Unknown,
        }
    }

    /// Whether a full queue, or what else refuses, hurt the client.
    pub(crate) const fn is_hurt(self) -> bool {
        match self {
            Self::Phantom
            | Self::Reset
            | Self::NeverServed
            | Self::GaveUp
            | Self::Waiting
            | Self::Delayed => true,
            Self::Other | Self::Unknown | Self::Connected => false,
        }
    }

    /// In a table's cell, or after a number.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Phantom => "phantom",
            Self::Reset => "reset",
            Self::NeverServed => "never served",
            Self::GaveUp => "gave up",
            Self::Waiting => "still trying",
            Self::Delayed => "delayed",
            Self::Other => "not connected",
            Self::Unknown => "unknown",
            Self::Connected => "connected",
        }
    }

    /// What it means.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Phantom => "the client believes it is connected, the server has no socket",
            Self::Reset => "the server answered with RST",
            Self::NeverServed => "none of its SYNs was taken",
            Self::GaveUp => "it closed before the server had taken the connection",
            Self::Waiting => "refused so far, and still being tried",
            Self::Delayed => "refused at first, let in later",
            Self::Other => "did not come through, and no full queue is why",
            Self::Unknown => "what was seen does not tell",
            Self::Connected => "in the accept queue or accepted, nothing was refused",
        }
    }

    /// The id of its mark in the page, and its class for the style sheet.
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Phantom => "f-phantom",
            Self::Reset => "f-reset",
            Self::NeverServed => "f-never",
            Self::GaveUp => "f-gaveup",
            Self::Waiting => "f-waiting",
            Self::Delayed => "f-delayed",
            Self::Other => "f-other",
            Self::Unknown => "f-unknown",
            Self::Connected => "f-connected",
        }
    }
}

/// Numbers of clients by fate, and the first of them one by one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fates {
    /// In order of arrival.
    pub(crate) first: Vec<Fate>,
    counts: [u64; Fate::ALL.len()],
}

impl Fates {
    /// So many marks stand in a row; more are a number.
    const MARKS: usize = 80;

    /// Adds a client.
    pub(crate) fn add(&mut self, fate: Fate) {
        self.counts[fate as usize] += 1;
        if self.first.len() < Self::MARKS {
            self.first.push(fate);
        }
    }

    /// Adds all of these, as numbers.
    pub(crate) fn add_all(&mut self, more: &Self) {
        for (sum, n) in self.counts.iter_mut().zip(more.counts) {
            *sum += n;
        }
    }

    /// How many there are of each, the worst first, those without any left out.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Fate, u64)> {
        Fate::ALL.into_iter().map(|fate| (fate, self.counts[fate as usize])).filter(|(_, n)| *n > 0)
    }

    /// How many clients there are.
    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many of them were hurt.
    pub(crate) fn hurt(&self) -> u64 {
        self.each().filter(|(fate, _)| fate.is_hurt()).map(|(_, n)| n).sum()
    }

    /// `3 phantom, 2 connected`.
    pub(crate) fn words(&self) -> String {
        let each: Vec<_> = self.each().map(|(fate, n)| format!("{n} {}", fate.word())).collect();
        each.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use overflow_core::verdict::{Known, Stage, Values};

    fn fate(ids: &[VerdictId], lab: bool) -> Fate {
        let stage = |id: &VerdictId| Stage {
            id: *id,
            t_ns: 0,
            known: Known::Traced,
            path: &[],
            values: Values::default(),
            repeats_ns: Vec::new(),
        };
        let stages: Vec<_> = ids.iter().map(stage).collect();
        Fate::of(&Connection { stages, outcome: ids.last().copied(), ..Connection::default() }, lab)
    }

    #[test]
    fn fates_are_those_of_the_text() {
        use VerdictId as V;
        assert_eq!(
            fate(&[V::SynCookie, V::AckDropOverflowCookie, V::LaterPhantom], false),
            Fate::Phantom
        );
        assert_eq!(fate(&[V::SynQueued, V::AckResetOverflow], false), Fate::Reset);
        assert_eq!(fate(&[V::SynDropAcceptQueueFull], false), Fate::NeverServed);
        assert_eq!(
            fate(&[V::SynQueued, V::AckDropOverflow, V::LaterResetByClient], false),
            Fate::GaveUp
        );
        assert_eq!(fate(&[V::SynQueued, V::AckAccepted], false), Fate::Connected);
        assert_eq!(fate(&[V::SynQueued, V::LaterRequestExpired], false), Fate::Other);
        assert_eq!(fate(&[], false), Fate::Unknown);
    }

    #[test]
    fn the_end_of_the_experiment_is_no_fate() {
        use VerdictId as V;
        let ids = [V::SynQueued, V::AckAccepted, V::LaterListenerClosed];
        assert_eq!((fate(&ids, true), fate(&ids, false)), (Fate::Connected, Fate::Reset));
    }

    #[test]
    fn the_order_is_that_of_the_counts() {
        assert!(Fate::ALL.into_iter().enumerate().all(|(n, fate)| fate as usize == n));
    }
}
