//! A cell of the lab as a question to the model.

use overflow_core::{
    explain::{Counts, predict_burst::Question},
    model::config::Sysctls,
};

use super::Facts;
use crate::{CellConfig, Script};

/// The cell's burst; `None` if more happens in it than a burst.
pub(super) fn of_cell(config: &CellConfig, limit: u32) -> Option<Question> {
    let sysctls = Sysctls {
        syncookies: config.syncookies,
        abort_on_overflow: config.abort_on_overflow,
        ..Sysctls::default()
    };
    let (queued, clients) = (config.prefill, config.clients);
    (config.script == Script::default()).then_some(Question { limit, queued, clients, sysctls })
}

/// The counts of what was found in a cell.
pub(crate) fn counts(cell: &Facts<'_>) -> Counts {
    let mut counts = Counts::default();
    for connection in &cell.connections {
        counts.add(connection.handshake().map(|s| s.id));
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_burst_is_not_predicted() {
        let script = Script { name: "x", setup: &[], steps: &[] };
        let config = CellConfig { script, ..CellConfig::SEED };
        assert_eq!(of_cell(&config, 1), None);
    }
}
