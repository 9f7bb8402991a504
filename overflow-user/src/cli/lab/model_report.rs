//! `--check-model`: what the model predicts for each cell, beside what was traced.

use std::fmt::Write as _;

use overflow_lab::{HostModel, report::Report};

/// The whole report as text, and whether the model was right everywhere.
pub(super) fn report(model: &mut HostModel, report: &Report) -> (String, bool) {
    model.learn(&report.cells);
    let (mut connections, mut wrong, mut text) = (0, 0, String::new());
    for cell in &report.cells {
        let name = cell.config.run_name();
        match model.check(cell) {
            Err(why) => {
                wrong += 1;
                let _ = writeln!(text, "  {name}: not checked: {why}");
            }
            Ok(checked) => {
                connections += checked.connections;
                wrong += checked.differences.len();
                for difference in &checked.differences {
                    let _ = writeln!(text, "  {name}, {difference}");
                }
            }
        }
    }
    let head = format!("The model of {} (rule {})", model.name, model.features.regime());
    let head = if wrong == 0 {
        format!("\n✓ {head} predicted the outcome of all {connections} connections.\n")
    } else {
        format!("\n✗ {head} is wrong on {wrong} of {connections} connections:\n")
    };
    (head + &text, wrong == 0)
}
