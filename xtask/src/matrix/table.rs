//! The matrix as data: cells, what differs between them, what is not as it must be.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    Tracing,
    cell::{Ended, Histories, Place},
    compare_rungs::Compared,
    describe,
    seed::{CELLS, MeasuredSeed, PREFILLS, Seeds},
};
use crate::test::Checks;

/// Everything that was run.
#[derive(Default)]
pub struct Table {
    /// The kernels, in the order asked for.
    pub kernels: Vec<Kernel>,
    /// The scenarios, in the lab's order.
    pub scenarios: Vec<Scenario>,
    /// Runs that printed nothing usable; why.
    pub failures: Vec<String>,
    /// The seed experiment as it was measured elsewhere.
    pub measured: Vec<MeasuredSeed>,
    /// What fentry and kprobe saw of the same runs.
    pub comparisons: Vec<Compared>,
}

/// A kernel that was booted.
#[derive(Default)]
pub struct Kernel {
    /// Version of its package: `6.12.117-1`.
    pub version: String,
    /// The hooks in use with each rung: hook point, hook.
    pub hooks: BTreeMap<Tracing, BTreeSet<(String, String)>>,
    /// By prefill and cell of the seed experiment: each outcome seen, and where.
    pub seeds: [[BTreeMap<String, Vec<Place>>; CELLS.len()]; PREFILLS.len()],
}

/// A scenario and its cells.
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub shows: String,
    /// By kernel and place.
    pub cells: BTreeMap<(usize, Place), Ended>,
}

impl Kernel {
    /// The version without the suffix of Debian's backports: `7.3.4-1`.
    pub fn name(&self) -> &str {
        self.version.split('~').next().unwrap_or(&self.version)
    }

    /// Takes in one run of the seed experiment.
    pub fn add_seed(&mut self, prefill: usize, place: Place, seen: &[String; CELLS.len()]) {
        for (outcomes, letters) in self.seeds[prefill].iter_mut().zip(seen) {
            outcomes.entry(letters.clone()).or_default().push(place);
        }
    }

    /// The seed experiment, if every place saw the same.
    pub fn agreed_seeds(&self) -> Option<Seeds> {
        let one = |outcomes: &BTreeMap<String, Vec<Place>>| match outcomes.len() {
            1 => outcomes.keys().next().cloned(),
            _ => None,
        };
        let mut seeds = Seeds::default();
        for (row, cells) in seeds.iter_mut().zip(&self.seeds) {
            for (letters, outcomes) in row.iter_mut().zip(cells) {
                *letters = one(outcomes)?;
            }
        }
        Some(seeds)
    }
}

impl Scenario {
    /// The histories of a kernel's best rung, in the first family that ran.
    pub fn best(&self, kernel: usize) -> Option<&Histories> {
        self.ran(kernel).next().map(|(_, histories)| histories)
    }

    /// Every cell of a kernel that ran.
    pub fn ran(&self, kernel: usize) -> impl Iterator<Item = (Place, &Histories)> {
        self.cells.iter().filter(move |((k, _), _)| *k == kernel).filter_map(
            |((_, place), ended)| match ended {
                Ended::Holds(histories) | Ended::Differs(histories, _) => Some((*place, histories)),
                Ended::Unavailable(_) => None,
            },
        )
    }

    /// Kernels by what came out on their best rung, in the order of the first.
    pub fn by_outcome(&self, kernels: usize) -> Vec<(&Histories, Vec<usize>)> {
        let mut groups: Vec<(&Histories, Vec<usize>)> = Vec::new();
        for kernel in 0..kernels {
            let Some(histories) = self.best(kernel) else { continue };
            match groups.iter_mut().find(|(known, _)| *known == histories) {
                Some((_, members)) => members.push(kernel),
                None => groups.push((histories, vec![kernel])),
            }
        }
        groups
    }
}

impl Table {
    /// Takes in one run of the scenarios.
    pub fn add(&mut self, kernel: usize, place: Place, scenarios: Vec<(String, String, Ended)>) {
        for (name, shows, ended) in scenarios {
            let known = self.scenarios.iter().position(|s| s.name == name);
            let index = known.unwrap_or_else(|| {
                self.scenarios.push(Scenario { name, shows, cells: BTreeMap::new() });
                self.scenarios.len() - 1
            });
            self.scenarios[index].cells.insert((kernel, place), ended);
        }
    }

    /// Each cell, each kernel's seed experiment, each comparison of two rungs and each explanation
    /// is a check.
    pub fn check(&self) -> Checks {
        let mut checks = Checks::default();
        for failure in &self.failures {
            checks.check(false, || failure.clone());
        }
        for scenario in &self.scenarios {
            self.check_scenario(scenario, &mut checks);
        }
        for kernel in &self.kernels {
            let seeds = kernel.agreed_seeds();
            let known = seeds.is_some_and(|seen| self.measured.iter().any(|m| m.seeds == seen));
            checks.check(known, || {
                let what = "the seed experiment is not as on any measured kernel";
                format!(
                    "{}: {what}, or not the same everywhere: {:?}",
                    kernel.version, kernel.seeds
                )
            });
        }
        for compared in &self.comparisons {
            checks.check(compared.difference.is_none(), || {
                let difference = compared.difference.as_deref().unwrap_or_default();
                format!("{}: fentry and kprobe differ: {difference}", compared.what)
            });
        }
        checks
    }

    /// How many runs fentry and kprobe saw the same of, and how many were compared.
    pub fn identical_runs(&self) -> (usize, usize) {
        let same = self.comparisons.iter().filter(|c| c.difference.is_none()).count();
        (same, self.comparisons.len())
    }

    fn check_scenario(&self, scenario: &Scenario, checks: &mut Checks) {
        for ((kernel, place), ended) in &scenario.cells {
            let at = || {
                let (rung, family) = (place.rung.name(), place.family.name());
                format!("{}, {}, {rung}, {family}", scenario.name, self.version(*kernel))
            };
            match ended {
                Ended::Holds(_) => checks.check(true, String::new),
                Ended::Differs(_, why) => {
                    checks.check(false, || format!("{}: {}", at(), why.join("; ")));
                }
                Ended::Unavailable(why) => checks.check(describe::may_be_unavailable(why), || {
                    format!("{}: unavailable for a reason that is not known here: {why}", at())
                }),
            }
        }
        let differs = scenario.by_outcome(self.kernels.len()).len() > 1;
        checks.check(!differs || describe::difference(&scenario.name).is_some(), || {
            let what = "kernels differ, and xtask/src/matrix/describe.rs does not say why";
            format!("{}: {what}", scenario.name)
        });
    }

    /// A kernel's name.
    pub fn version(&self, kernel: usize) -> &str {
        self.kernels.get(kernel).map_or("", Kernel::name)
    }

    /// Counts of cells: as expected, otherwise, unavailable.
    pub fn counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for ended in self.scenarios.iter().flat_map(|s| s.cells.values()) {
            let which = match ended {
                Ended::Holds(_) => 0,
                Ended::Differs(..) => 1,
                Ended::Unavailable(_) => 2,
            };
            counts[which] += 1;
        }
        counts
    }

    /// One line.
    pub fn in_short(&self) -> String {
        let [holds, differs, unavailable] = self.counts();
        format!(
            "{} scenarios on {} kernels: {holds} cells as expected, {differs} not, {unavailable} \
             unavailable, {} runs failed",
            self.scenarios.len(),
            self.kernels.len(),
            self.failures.len()
        )
    }

    /// All of it, one cell a line.
    pub fn json(&self) -> String {
        let mut lines = Vec::new();
        for kernel in &self.kernels {
            let hooks: BTreeMap<_, Vec<_>> = kernel
                .hooks
                .iter()
                .map(|(rung, hooks)| (rung.name(), hooks.iter().map(|(_, h)| h).collect()))
                .collect();
            let seeds = kernel.agreed_seeds();
            lines.push(json!({"type": "kernel", "kernel": kernel.name(), "booted": true,
                "seed": seeds.as_ref().map(seeds_json), "hooks": hooks}));
        }
        for measured in &self.measured {
            lines.push(json!({"type": "kernel", "kernel": measured.kernel, "booted": false,
                "seed": seeds_json(&measured.seeds)}));
        }
        for scenario in &self.scenarios {
            let mut outcomes: Vec<&Histories> = Vec::new();
            let mut cells = Vec::new();
            for ((kernel, place), ended) in &scenario.cells {
                let mut cell = json!({"type": "cell", "scenario": scenario.name,
                    "kernel": self.version(*kernel), "rung": place.rung, "family": place.family});
                let histories = match ended {
                    Ended::Holds(histories) => {
                        cell["result"] = json!("as expected");
                        histories
                    }
                    Ended::Differs(histories, why) => {
                        cell["result"] = json!("different");
                        cell["differences"] = json!(why);
                        histories
                    }
                    Ended::Unavailable(why) => {
                        cell["result"] = json!("unavailable");
                        cell["why"] = json!(why);
                        cells.push(cell);
                        continue;
                    }
                };
                let outcome = outcomes.iter().position(|known| *known == histories);
                cell["outcome"] = json!(outcome.unwrap_or_else(|| {
                    outcomes.push(histories);
                    outcomes.len() - 1
                }));
                cells.push(cell);
            }
            lines.push(json!({"type": "scenario", "scenario": scenario.name,
                "shows": scenario.shows, "outcomes": outcomes,
                "difference": describe::difference(&scenario.name)}));
            lines.extend(cells);
        }
        let (identical, compared) = self.identical_runs();
        lines.push(json!({"type": "fentry and kprobe", "compared": compared,
            "identical": identical}));
        for compared in self.comparisons.iter().filter(|c| c.difference.is_some()) {
            lines.push(json!({"type": "fentry and kprobe differ", "where": compared.what,
                "difference": compared.difference}));
        }
        for failure in &self.failures {
            lines.push(json!({"type": "failure", "why": failure}));
        }
        let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
        format!("[\n{}\n]\n", lines.join(",\n"))
    }
}

fn seeds_json(seeds: &Seeds) -> Value {
    let mut cells = Vec::new();
    for (prefill, row) in PREFILLS.iter().zip(seeds) {
        for ((syncookies, abort), letters) in CELLS.iter().zip(row) {
            cells.push(json!({"prefill": prefill, "syncookies": syncookies,
                "abort_on_overflow": abort, "burst": letters}));
        }
    }
    Value::from(cells)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Family;

    fn histories(history: &str, n: usize) -> Histories {
        Histories::from([(history.to_owned(), n)])
    }

    fn place(rung: Tracing) -> Place {
        Place { rung, family: Family::Ipv4 }
    }

    fn table(ends: Vec<(usize, Tracing, Ended)>) -> Table {
        let cells = ends.into_iter().map(|(k, rung, ended)| ((k, place(rung)), ended)).collect();
        let seeds = || {
            let letters = || BTreeMap::from([("A".to_owned(), vec![place(Tracing::Fentry)])]);
            [(); 2].map(|()| [(); 4].map(|()| letters()))
        };
        let kernel = |version: &str| Kernel {
            version: version.to_owned(),
            seeds: seeds(),
            ..Kernel::default()
        };
        let letters = [(); 2].map(|()| [(); 4].map(|()| "A".to_owned()));
        Table {
            kernels: ["1", "2"].map(kernel).into_iter().collect(),
            scenarios: vec![Scenario {
                name: "nameless".to_owned(),
                shows: "nothing".to_owned(),
                cells,
            }],
            failures: Vec::new(),
            measured: vec![MeasuredSeed { kernel: "x", bootable: true, seeds: letters }],
            comparisons: Vec::new(),
        }
    }

    #[test]
    fn kernels_are_compared_by_their_best_rung() {
        let table = table(vec![
            (0, Tracing::Fentry, Ended::Holds(histories("a", 1))),
            (1, Tracing::Fentry, Ended::Holds(histories("a", 1))),
            (1, Tracing::Tracepoint, Ended::Holds(histories("other", 1))),
        ]);
        assert_eq!(table.scenarios[0].by_outcome(2), [(&histories("a", 1), vec![0, 1])]);
        assert_eq!(table.check().failed(), 0);
    }

    #[test]
    fn every_kind_of_fault_is_found() {
        let faults = |ends| table(ends).check().failed();
        let differs = Ended::Differs(histories("a", 1), vec!["b".to_owned()]);
        assert_eq!(faults(vec![(0, Tracing::Fentry, differs)]), 1);
        assert_eq!(faults(vec![(0, Tracing::Fentry, Ended::Unavailable("a whim".to_owned()))]), 1);
        let unlike = |k, history| (k, Tracing::Fentry, Ended::Holds(histories(history, 1)));
        assert_eq!(faults(vec![unlike(0, "a"), unlike(1, "b")]), 1);
        let mut seedless = table(vec![unlike(0, "a")]);
        seedless.kernels[0].add_seed(0, place(Tracing::Kprobe), &[(); 4].map(|()| "B".to_owned()));
        seedless.failures.push("it died".to_owned());
        assert_eq!(seedless.check().failed(), 2);
        let mut unlike = table(Vec::new());
        for difference in [None, Some("a number".to_owned())] {
            unlike.comparisons.push(Compared { what: "1, ipv4, r".to_owned(), difference });
        }
        assert_eq!((unlike.check().failed(), unlike.identical_runs()), (1, (1, 2)));
    }

    #[test]
    fn json_is_one_list() {
        let table = table(vec![(0, Tracing::Kprobe, Ended::Holds(histories("a", 2)))]);
        let list: Vec<Value> = serde_json::from_str(&table.json()).unwrap();
        let cell = list.iter().find(|line| line["type"] == "cell").unwrap();
        assert_eq!((&cell["rung"], &cell["outcome"]), (&json!("kprobe"), &json!(0)));
    }
}
