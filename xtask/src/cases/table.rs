//! What came out of each run, as a table for the terminal.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{Run, case::Mode};
use crate::{rung::Rung, test::Checks};

/// How a run ended.
#[derive(Clone, Debug)]
pub enum Ended {
    /// Everything that was said is true.
    Right,
    /// What is wrong.
    Wrong(Vec<String>),
    /// It cannot run there; why.
    Skipped(String),
}

/// One run's place and end.
#[derive(Clone, Debug)]
pub struct Cell {
    case: &'static str,
    mode: Mode,
    kernel: String,
    rung: Rung,
    ended: Ended,
}

impl Cell {
    /// Of a run on a kernel.
    pub fn of(run: Run, kernel: &str, ended: Ended) -> Self {
        let kernel = kernel.to_owned();
        Self { case: run.case.name, mode: run.mode, kernel, rung: run.rung, ended }
    }

    fn place(&self) -> String {
        let Self { case, mode, kernel, rung, .. } = self;
        format!("{case} ({}), kernel {kernel}, {}", mode.name(), rung.name())
    }
}

/// All runs, in the order of the cases.
#[derive(Clone, Debug, Default)]
pub struct Table(Vec<Cell>);

impl Table {
    /// Adds a run.
    pub fn add(&mut self, cell: Cell) {
        self.0.push(cell);
    }

    /// Adds those of another table.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Each run is a check.
    pub fn check(&self) -> Checks {
        let mut checks = Checks::default();
        for cell in &self.0 {
            match &cell.ended {
                Ended::Right => checks.check(true, String::new),
                Ended::Wrong(wrong) => {
                    checks.check(false, || format!("{}: {}", cell.place(), wrong.join("; ")));
                }
                Ended::Skipped(why) => checks.skip(&cell.place(), why),
            }
        }
        checks
    }

    /// A line for each case and way to trace, a column for each kernel and rung; then what is wrong.
    pub fn render(&self) -> String {
        let columns: BTreeSet<_> = self.0.iter().map(|cell| (&*cell.kernel, cell.rung)).collect();
        let mut rows: Vec<(&str, Mode)> = Vec::new();
        let mut cells: BTreeMap<_, &Ended> = BTreeMap::new();
        for cell in &self.0 {
            if !rows.contains(&(cell.case, cell.mode)) {
                rows.push((cell.case, cell.mode));
            }
            cells.insert((cell.case, cell.mode, &*cell.kernel, cell.rung), &cell.ended);
        }
        let mut text = String::new();
        for (number, (kernel, rung)) in columns.iter().enumerate() {
            let _ = writeln!(text, "{:>2}  kernel {kernel}, {}", number + 1, rung.name());
        }
        let heads = (1..=columns.len()).map(|number| format!("{number:>6}"));
        let _ = writeln!(text, "\n{:<44}{}", "", heads.collect::<String>());
        for (case, mode) in rows {
            let _ = write!(text, "{case:<34}{:<10}", mode.name());
            for &(kernel, rung) in &columns {
                let word = match cells.get(&(case, mode, kernel, rung)) {
                    None => "",
                    Some(Ended::Right) => "ok",
                    Some(Ended::Wrong(_)) => "WRONG",
                    Some(Ended::Skipped(_)) => "skip",
                };
                let _ = write!(text, "{word:>6}");
            }
            text.push('\n');
        }
        for cell in &self.0 {
            match &cell.ended {
                Ended::Right => {}
                Ended::Skipped(why) => {
                    let _ = writeln!(text, "\nskipped {}: {why}", cell.place());
                }
                Ended::Wrong(wrong) => {
                    let _ = writeln!(text, "\nWRONG {}", cell.place());
                    for sentence in wrong {
                        let _ = writeln!(text, "    {sentence}");
                    }
                }
            }
        }
        text.push('\n');
        text
    }
}
