//! Every way out of the kernel's handshake code, provoked on purpose: scenarios as data, each with
//! what must come out of it.

/// What a client made by hand sends after its SYN-ACK, as the step that begins it; with timestamps or
/// without.
macro_rules! by_hand {
    (timestamps; $($segment:expr),+ $(,)?) => { by_hand!(true; $($segment),+) };
    ($with_timestamps:literal; $($segment:expr),+) => {
        crate::Step {
            at_ms: 0,
            action: crate::Action::Craft(&[crate::Crafted {
                handshake: true,
                timestamps: $with_timestamps,
                segments: &[$($segment),+],
            }]),
        }
    };
    ($($segment:expr),+ $(,)?) => { by_hand!(false; $($segment),+) };
}

mod child;
mod cookie;
mod ended;
mod expect;
mod life;
mod queue;
mod run;
mod segment;
mod variant;

pub use expect::{Alternative, Evidence, When, text};
pub use run::{Outcome, ScenarioRun, prepare, run};

use super::{CellConfig, Script, Step};
use overflow_core::verdict::{Ends, VerdictId};

/// A scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it shows, in one line.
    pub shows: &'static str,
    /// The cell; its script's name is [`Self::name`].
    config: CellConfig,
    /// What must come out, by kernel: one of those that apply.
    alternatives: &'static [Alternative],
    /// Counters with the exact increase they must have, by their `nstat` names without prefix.
    counters: &'static [(&'static str, u64)],
}

impl Scenario {
    /// Every scenario, in the order of the documentation.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        [queue::ALL, life::ALL, child::ALL, cookie::ALL, segment::ALL, ended::ALL, variant::ALL]
            .into_iter()
            .flatten()
    }

    /// The scenario of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        Self::all().find(|s| s.name == name)
    }

    /// A stage of it that none of the hooks in use shows, and without which what the other
    /// witnesses see does not add up: a request or a child is gone, and no witness shows why.
    pub(crate) fn unseen(&self, blind_to: &[VerdictId]) -> Option<VerdictId> {
        let unexplained = |id: VerdictId| match id.ends() {
            Ends::RequestUnseen | Ends::ChildByClient => true,
            Ends::Nothing | Ends::RequestTimer | Ends::RequestByClient | Ends::ByServerReset => {
                false
            }
        };
        let expected = self.alternatives.iter().flat_map(Alternative::ids);
        expected.filter(|id| unexplained(*id) && blind_to.contains(id)).min()
    }

    /// Its cell, complete.
    pub fn cell(&self) -> CellConfig {
        let mut config = self.config.clone();
        config.script.name = self.name;
        config
    }
}

/// A script without any difference at the beginning.
const fn steps(steps: &'static [Step]) -> Script {
    Script { name: "", setup: &[], steps }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Action;

    #[test]
    fn names_are_unique_and_found() {
        let names: BTreeSet<_> = Scenario::all().map(|s| s.name).collect();
        assert_eq!(names.len(), Scenario::all().count());
        for scenario in Scenario::all() {
            let found = Scenario::find(scenario.name).unwrap();
            assert_eq!(found.shows, scenario.shows);
        }
        assert!(Scenario::find("centos7").is_some() && Scenario::find("nonsense").is_none());
    }

    #[test]
    fn the_documentation_lists_every_scenario_in_order() {
        let listed: Vec<_> = include_str!("../../../../docs/scenarios.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "))
            .collect();
        let expected: Vec<_> = Scenario::all().map(|s| (s.name, s.shows)).collect();
        assert_eq!(listed, expected);
    }

    #[test]
    fn a_verdict_that_no_scenario_names_is_listed_with_the_reason() {
        let section = include_str!("../../../../docs/scenarios.md")
            .split_once("## Paths that no scenario provokes")
            .map(|(_, section)| section)
            .unwrap();
        let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).collect();
        let named: BTreeSet<_> =
            Scenario::all().flat_map(|s| s.alternatives).flat_map(Alternative::ids).collect();
        for id in VerdictId::ALL {
            let listed = rows.iter().any(|row| {
                let path = row.split(" | ").next().unwrap_or_default();
                path.contains(&format!("`{id}`"))
            });
            assert_eq!(listed, !named.contains(id), "{id}");
        }
        for row in rows {
            let why = row.split(" | ").nth(1).unwrap_or_default();
            assert!(why.trim_end_matches(" |").len() > 3, "no reason: {row}");
        }
    }

    #[test]
    fn every_cell_can_run_and_names_its_scenario() {
        for scenario in Scenario::all() {
            let cell = scenario.cell();
            cell.check().unwrap_or_else(|e| panic!("{}: {e}", scenario.name));
            assert!(cell.run_name().ends_with(scenario.name));
        }
    }

    #[test]
    fn steps_are_in_order_and_end_before_the_hold_does() {
        for scenario in Scenario::all() {
            let cell = scenario.cell();
            let times: Vec<_> = cell.script.steps.iter().map(|s| s.at_ms).collect();
            assert!(times.is_sorted(), "{}", scenario.name);
            let last = u128::from(times.last().copied().unwrap_or(0));
            assert!(last < cell.hold.as_millis(), "{}", scenario.name);
        }
    }

    #[test]
    fn the_expected_connections_are_as_many_as_are_made() {
        for scenario in Scenario::all() {
            let cell = scenario.cell();
            let crafted: usize = cell
                .script
                .steps
                .iter()
                .map(|s| if let Action::Craft(list) = s.action { list.len() } else { 0 })
                .sum();
            let made = (cell.clients + cell.prefill) as usize + crafted;
            assert!(!scenario.alternatives.is_empty());
            for alternative in scenario.alternatives {
                assert_eq!(alternative.connections(), made, "{}", scenario.name);
                assert!(alternative.ids().count() > 0);
            }
        }
    }
}
