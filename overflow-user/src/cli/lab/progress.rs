//! Progress of the running cells on stderr: one line that is rewritten, on a terminal only.

use std::{
    io::{self, IsTerminal, Write},
    sync::Mutex,
    time::{Duration, Instant},
};

use overflow_lab::{Progress, run::Watcher};

/// The progress line.
pub(super) struct Line {
    terminal: bool,
    state: Mutex<Vec<Option<Progress>>>,
    started: Instant,
    expected: Duration,
}

impl Line {
    /// Starts the display for `cells` cells that take about `expected` each.
    pub(super) fn start(cells: usize, expected: Duration) -> Self {
        let terminal = io::stderr().is_terminal();
        let line = Self {
            terminal,
            state: Mutex::new(vec![None; cells]),
            started: Instant::now(),
            expected,
        };
        if terminal {
            line.draw();
        } else {
            let noun = if cells == 1 { "cell" } else { "cells, side by side" };
            overflow::say!("overflow: running {cells} {noun}, about {} s", expected.as_secs() + 1);
        }
        line
    }

    fn draw(&self) {
        if !self.terminal {
            return;
        }
        let Ok(state) = self.state.lock() else { return };
        let slowest = state.iter().map(|p| rank(*p)).min().unwrap_or(0);
        let doing = [
            "opening listeners",
            "prefilling the accept queues",
            "connecting",
            "holding: watching retransmissions and retries",
            "closing the listeners",
            "collecting",
        ][slowest];
        let (now, all) = (self.started.elapsed().as_secs(), self.expected.as_secs() + 1);
        let mut err = io::stderr();
        let _ = write!(err, "\r\x1b[K{} cells · {doing} · {now}/{all} s", state.len());
        let _ = err.flush();
    }
}

impl Watcher for Line {
    fn progress(&self, cell: usize, progress: Progress) {
        if let Ok(mut state) = self.state.lock()
            && let Some(slot) = state.get_mut(cell)
        {
            *slot = Some(progress);
        }
        self.draw();
    }

    fn tick(&self) {
        self.draw();
    }

    fn end(&self) {
        if self.terminal {
            let mut err = io::stderr();
            let _ = write!(err, "\r\x1b[K");
            let _ = err.flush();
        }
    }
}

/// What comes after this step, as an index.
fn rank(progress: Option<Progress>) -> usize {
    match progress {
        None => 0,
        Some(Progress::Listening) => 1,
        Some(Progress::Prefilled(_)) => 2,
        Some(Progress::Burst) => 3,
        Some(Progress::Held) => 4,
        Some(Progress::Closed) => 5,
    }
}
