//! The terminal view of a live trace: a line per listener, its queue over time, the last abnormal
//! handshakes.
//!
//! [`Top`] is what is known and what is looked at; a frame is a pure function of it, a key changes
//! it, and [`TopSink`] feeds it. The terminal itself is not touched here.

mod state;
mod columns;
mod draw;
mod row;
mod series;
mod sink;
#[cfg(test)]
mod tests;
mod view;

use ratatui::buffer::Buffer;

pub use sink::{Shared, TopSink};
pub use state::State;
pub use view::Action;

use crate::pipeline::Filter;
use overflow_core::text::style::Options;
use overflow_core::{listeners::Inventory, model::kernels::Kernel};
use view::View;

/// The view.
#[derive(Debug)]
pub struct Top {
    state: State,
    /// The state as it was when the view was held still.
    held: Option<State>,
    view: View,
    options: Options,
    /// Whether the screen no longer shows what is known.
    stale: bool,
}

impl Top {
    /// A view of the listeners of `filter`; `kernel` says what an overflow will do to them.
    pub fn new(
        filter: Filter,
        kernel: Option<Kernel>,
        inventory: &Inventory,
        options: Options,
    ) -> Self {
        let mut state = State::new(filter, kernel);
        state.look(inventory);
        Self { state, held: None, view: View::default(), options, stale: true }
    }

    /// Does what a key asks for; true if that is to leave.
    pub fn act(&mut self, action: Action) -> bool {
        if action == Action::Pause {
            self.held = match self.held.take() {
                Some(_) => None,
                None => Some(self.state.clone()),
            };
        }
        self.view.act(action, self.held.as_ref().unwrap_or(&self.state));
        self.stale = true;
        action == Action::Quit
    }

    /// Draws a frame over all of `buffer`.
    pub fn draw(&self, buffer: &mut Buffer) {
        let state = self.held.as_ref().unwrap_or(&self.state);
        draw::frame(buffer, state, &self.view, self.held.is_some(), self.options);
    }

    /// Whether there is something to draw; it is taken for drawn then.
    pub fn take_stale(&mut self) -> bool {
        std::mem::take(&mut self.stale)
    }

    /// What is known changed, and is shown unless the view is held still.
    fn changed(&mut self) -> &mut State {
        self.stale |= self.held.is_none();
        &mut self.state
    }
}
