//! How long a queue has been full, and whether its cause is still the one it began with.

use super::{catalog::CauseId, judge::Judgement};

/// A time in which a listener's queue was full, with the causes at its beginning: these are what
/// filled it. Later ones can be a consequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// When it began, as far as that is known, CLOCK_MONOTONIC nanoseconds.
    pub since_ns: u64,
    began: Vec<CauseId>,
    now: Vec<CauseId>,
}

/// What a look adds to an episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is the first that names a cause.
    Began,
    /// The causes are those of the look before.
    Same,
    /// They changed, and were these before.
    Changed(Vec<CauseId>),
}

impl Episode {
    /// An episode that nobody has looked at yet.
    pub const fn new(since_ns: u64) -> Self {
        Self { since_ns, began: Vec::new(), now: Vec::new() }
    }

    /// The cause at its beginning that is named first.
    pub fn cause(&self) -> Option<CauseId> {
        self.began.first().copied()
    }

    /// Takes what another look found. One that names nothing changes nothing.
    pub fn look(&mut self, judgement: &Judgement) -> Change {
        let found: Vec<CauseId> = judgement.causes.iter().map(|cause| cause.id).collect();
        if found.is_empty() || found == self.now {
            return Change::Same;
        }
        let before = std::mem::replace(&mut self.now, found);
        if self.began.is_empty() {
            self.began.clone_from(&self.now);
            return Change::Began;
        }
        Change::Changed(before)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::judge::Finding, *};

    #[test]
    fn the_first_cause_stays_the_episodes() {
        let found = |ids: &[CauseId]| {
            let finding =
                |id: &CauseId| Finding { id: *id, evidence: Vec::new(), values: Vec::new() };
            Judgement { causes: ids.iter().map(finding).collect(), ..Judgement::default() }
        };
        let mut episode = Episode::new(5);
        assert_eq!(episode.look(&found(&[])), Change::Same);
        assert_eq!(
            (episode.look(&found(&[CauseId::Stopped])), episode.cause()),
            (Change::Began, Some(CauseId::Stopped))
        );
        assert_eq!(episode.look(&found(&[CauseId::Stopped])), Change::Same);
        let overload = [CauseId::Overload];
        assert_eq!(episode.look(&found(&overload)), Change::Changed(vec![CauseId::Stopped]));
        assert_eq!(episode.look(&found(&overload)), Change::Same);
        assert_eq!(episode.cause(), Some(CauseId::Stopped));
    }
}
