//! Why a listener was full when a handshake with it did not succeed: by the looks at its holders, which
//! come a little later, and before the handshake is exported.

use std::collections::HashMap;

use crate::sink::trace::Caused;
use overflow_core::{
    cause::{CauseId, Change},
    verdict::Connection,
};

/// Listeners of which the last time that they were full is remembered.
const MOST: usize = 4096;

/// The last time that each listener was full.
#[derive(Debug, Default)]
pub(super) struct Causes(HashMap<(u32, u64), Spell>);

/// A time in which a queue was full.
#[derive(Clone, Copy, Debug)]
struct Spell {
    since_ns: u64,
    until_ns: u64,
    /// The cause at its beginning.
    cause: CauseId,
}

impl Causes {
    /// Takes what a look found.
    pub(super) fn look(&mut self, caused: &Caused<'_>) {
        let evidence = caused.evidence;
        let socket = (evidence.listener.netns, evidence.listener.inode);
        if *caused.change != Change::Began
            && let Some(known) = self.0.get_mut(&socket)
        {
            known.until_ns = evidence.t_ns;
            return;
        }
        let Some(main) = caused.judgement.main() else { return };
        let since_ns = evidence.queue.first().map_or(evidence.t_ns, |sample| sample.t_ns);
        if self.0.len() < MOST || self.0.contains_key(&socket) {
            self.0.insert(socket, Spell { since_ns, until_ns: evidence.t_ns, cause: main.id });
        }
    }

    /// Why this listener was full when something of the connection did not succeed, if it was.
    pub(super) fn of(
        &self,
        netns: u32,
        inode: Option<u32>,
        connection: &Connection,
    ) -> Option<CauseId> {
        let spell = self.0.get(&(netns, inode?.into()))?;
        let during = |t_ns: u64| (spell.since_ns..=spell.until_ns).contains(&t_ns);
        let abnormal = connection.stages.iter().filter(|stage| stage.id.is_abnormal());
        let times = |stage: &overflow_core::verdict::Stage| {
            during(stage.t_ns) || stage.repeats_ns.iter().any(|t_ns| during(*t_ns))
        };
        abnormal.into_iter().any(times).then_some(spell.cause)
    }
}

#[cfg(test)]
mod tests {
    use overflow_core::{
        cause::{
            judge,
            sample::{evidence, sleeping, with_threads},
        },
        verdict::{Known, Stage, Values, VerdictId},
    };

    use super::*;

    fn dropped_at(t_ns: u64) -> Connection {
        Connection {
            client: "10.0.0.2:1".parse().unwrap(),
            server: "10.0.0.1:80".parse().unwrap(),
            stages: vec![Stage {
                id: VerdictId::SynDropAcceptQueueFull,
                t_ns,
                known: Known::Traced,
                path: &[],
                values: Values::default(),
                repeats_ns: Vec::new(),
            }],
            synack_retransmits_ns: Vec::new(),
            outcome: None,
            gave_up: false,
        }
    }

    #[test]
    fn a_handshake_has_the_cause_of_the_time_it_failed_in() {
        let mut causes = Causes::default();
        let mut look = |t_ns, change| {
            let mut seen = evidence(vec![with_threads(10, vec![sleeping(10, "flock")])]);
            (seen.queue[0].t_ns, seen.t_ns) = (t_ns - 10, t_ns);
            let judgement = judge(&seen);
            causes.look(&Caused { evidence: &seen, judgement: &judgement, change: &change });
        };
        look(100, Change::Began);
        look(500, Change::Same);
        let of = |netns, inode, t_ns| causes.of(netns, inode, &dropped_at(t_ns));
        assert_eq!(of(1, Some(7), 90), Some(CauseId::Blocked));
        assert_eq!(of(1, Some(7), 500), Some(CauseId::Blocked));
        assert_eq!((of(1, Some(7), 89), of(1, Some(7), 501)), (None, None));
        assert_eq!((of(2, Some(7), 100), of(1, None, 100)), (None, None));
    }
}
