//! What of the state is looked at, and how keys change it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    columns::{COLUMNS, Column},
    row::{Key, Row},
    state::State,
};

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Leave.
    Quit,
    /// The line above, or scroll.
    Up,
    /// The line below, or scroll.
    Down,
    /// Ten lines up.
    PageUp,
    /// Ten lines down.
    PageDown,
    /// The first line.
    First,
    /// The last line.
    Last,
    /// Order by the next column.
    SortNext,
    /// Order by the column before.
    SortPrevious,
    /// Turn the order around.
    Reverse,
    /// Details of the selected line, and back.
    Details,
    /// Back to the table.
    Back,
    /// Hold the screen still, and go on.
    Pause,
    /// Hide listeners where nothing happened, and show them again.
    Idle,
    /// What the keys and columns mean, and back.
    Help,
}

/// What fills the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Page {
    /// A line per listener.
    #[default]
    Table,
    /// One listener.
    Details,
    /// Help.
    Help,
}

/// What is looked at.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// What fills the screen.
    pub page: Page,
    /// The line with the mark; the first one if it is none or gone.
    pub selected: Option<Key>,
    /// By what the lines are ordered.
    pub sort: &'static Column,
    /// Whether the order is turned around.
    pub reversed: bool,
    /// Whether listeners where nothing happened are hidden.
    pub busy_only: bool,
    /// Lines that are scrolled away at the top of a page of text.
    pub scroll: usize,
}

impl Default for View {
    fn default() -> Self {
        Self {
            page: Page::default(),
            selected: None,
            sort: Column::initial(),
            reversed: false,
            busy_only: false,
            scroll: 0,
        }
    }
}

const PAGE: usize = 10;

impl View {
    /// The lines that are shown, in order.
    pub(super) fn rows<'a>(&self, state: &'a State) -> Vec<&'a Row> {
        let shown = state.rows.values().filter(|row| !self.busy_only || !row.idle());
        let mut rows: Vec<&Row> = shown.collect();
        let traced_ns = state.traced_ns();
        rows.sort_by(|a, b| self.sort.compare(a, b, traced_ns));
        if self.reversed {
            rows.reverse();
        }
        under_their_groups(rows)
    }

    /// Where in `rows` the mark is.
    pub(crate) fn marked(&self, rows: &[&Row]) -> usize {
        rows.iter().position(|row| Some(row.key) == self.selected).unwrap_or(0)
    }

    /// Does what a key asks for, as far as it concerns what is looked at.
    pub(super) fn act(&mut self, action: Action, state: &State) {
        match action {
            Action::Up => self.step(state, |at| at.saturating_sub(1)),
            Action::Down => self.step(state, |at| at.saturating_add(1)),
            Action::PageUp => self.step(state, |at| at.saturating_sub(PAGE)),
            Action::PageDown => self.step(state, |at| at.saturating_add(PAGE)),
            Action::First => self.step(state, |_| 0),
            Action::Last => self.step(state, |_| usize::MAX),
            Action::SortNext => self.sort_by(1),
            Action::SortPrevious => self.sort_by(-1),
            Action::Reverse => self.reversed = !self.reversed,
            Action::Idle => self.busy_only = !self.busy_only,
            Action::Details if self.page == Page::Table => {
                // The mark stays with this listener, whatever becomes of the order.
                let rows = self.rows(state);
                if let Some(row) = rows.get(self.marked(&rows)) {
                    self.selected = Some(row.key);
                    self.turn(Page::Details);
                }
            }
            Action::Help if self.page != Page::Help => self.turn(Page::Help),
            Action::Details | Action::Help | Action::Back => self.turn(Page::Table),
            Action::Quit | Action::Pause => {}
        }
    }

    fn turn(&mut self, page: Page) {
        self.page = page;
        self.scroll = 0;
    }

    /// Moves the mark, or scrolls a page of text; drawing stops at its last line.
    fn step(&mut self, state: &State, to: impl Fn(usize) -> usize) {
        if self.page == Page::Table {
            let rows = self.rows(state);
            let to = to(self.marked(&rows)).min(rows.len().saturating_sub(1));
            self.selected = rows.get(to).map(|row| row.key);
        } else {
            self.scroll = to(self.scroll);
        }
    }

    fn sort_by(&mut self, step: isize) {
        let columns: Vec<&Column> = COLUMNS.iter().filter(|c| c.order.is_some()).collect();
        let at = columns.iter().position(|c| *c == self.sort).unwrap_or(0);
        let len = columns.len();
        self.sort = columns[at.saturating_add(len).saturating_add_signed(step) % len];
    }
}

/// Each member of a group under it, in the order that they have among each other.
fn under_their_groups(rows: Vec<&Row>) -> Vec<&Row> {
    let mut members: BTreeMap<Key, Vec<&Row>> = BTreeMap::new();
    let there: BTreeSet<Key> = rows.iter().map(|row| row.key).collect();
    let mut above = Vec::with_capacity(rows.len());
    for row in rows {
        match row.group.filter(|group| there.contains(group)) {
            Some(group) => members.entry(group).or_default().push(row),
            None => above.push(row),
        }
    }
    let mut rows = Vec::with_capacity(there.len());
    for row in above {
        rows.push(row);
        rows.extend(members.remove(&row.key).unwrap_or_default());
    }
    rows
}
