//! What other settings would have meant.

use overflow_core::{
    text::duration,
    wire::{self, WhatifClients},
};

use super::{Collector, Kind, ROWS};
use crate::scene::Fact;

/// Upper bounds of delays as a line names them, seconds.
const DELAYS: [&str; 4] = ["1", "3", "7", "inf"];

/// One listener, and what settings would have meant for its clients.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    place: (u32, String),
    /// Where it listens.
    pub(crate) listener: String,
    /// Who holds it, and how many clients came.
    pub(crate) facts: Vec<Fact>,
    /// What was recorded, then each setting.
    pub(crate) rows: Vec<Row>,
    pub(crate) more_rows: u64,
    /// What would have hurt nobody.
    pub(crate) advice: Vec<Fact>,
    /// What the answers rest on.
    pub(crate) assumed: Vec<String>,
}

/// One setting.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Clients refused, delayed by less than 1, 3, 7 s and by more, not in, given up.
    pub(crate) clients: [Number; 7],
    /// The longest wait, where it is known.
    pub(crate) wait: Option<String>,
}

/// A number of clients: what is most likely, and between which it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    pub(crate) likely: u64,
    pub(crate) least: u64,
    pub(crate) most: u64,
}

impl Row {
    /// Whether nobody is hurt for certain.
    pub(crate) fn hurts_nobody(&self) -> bool {
        self.clients.iter().all(|number| number.most == 0)
    }
}

impl Collector {
    pub(super) fn whatif(&mut self, line: &wire::Whatif<'_>) {
        self.about.kind = Kind::Whatif;
        self.about.all = true;
        wire::TOOL.clone_into(&mut self.about.tool);
        let place = (line.netns, line.listener.to_string());
        let at = self.whatifs.iter().position(|asked| asked.place == place);
        let at = match at {
            Some(at) => at,
            None if self.whatifs.len() < super::SCENES => {
                self.whatifs.push(Asked::new(place, line));
                self.whatifs.len() - 1
            }
            None => return,
        };
        self.whatifs[at].take(line);
    }
}

impl Asked {
    fn new(place: (u32, String), line: &wire::Whatif<'_>) -> Self {
        let mut facts: Vec<Fact> = Vec::new();
        facts.extend(line.owner.as_ref().map(|owner| ("held by".to_owned(), owner.to_string())));
        let clients = line.recorded.as_ref().map(|recorded| recorded.clients.to_string());
        facts.extend(clients.map(|n| ("clients".to_owned(), n)));
        let with = line.recorded_setting.as_ref().map(wire::Asked::in_words);
        facts.extend(with.map(|with| ("recorded with".to_owned(), with)));
        Self {
            place,
            listener: line.listener.to_string(),
            facts,
            rows: Vec::new(),
            more_rows: 0,
            advice: Vec::new(),
            assumed: Vec::new(),
        }
    }

    fn take(&mut self, line: &wire::Whatif<'_>) {
        if let Some(recorded) = &line.recorded {
            self.row("as recorded".to_owned(), [recorded; 3]);
        }
        if let (Some(likely), Some(least), Some(most)) = (&line.at_pace, &line.least, &line.most) {
            self.row(line.setting.in_words(), [likely, least, most]);
        }
        self.assumed.extend(line.assumed.iter().take(ROWS).map(ToString::to_string));
        if let Some(advice) = &line.advice {
            self.advise(advice);
        }
    }

    fn row(&mut self, name: String, [likely, least, most]: [&WhatifClients<'_>; 3]) {
        if self.rows.len() == ROWS {
            self.more_rows += 1;
            return;
        }
        let number = |figure: &dyn Fn(&WhatifClients<'_>) -> u64| Number {
            likely: figure(likely),
            least: figure(least),
            most: figure(most),
        };
        let delayed = |i: usize| {
            number(&|c: &WhatifClients<'_>| c.delayed_below_s.get(DELAYS[i]).copied().unwrap_or(0))
        };
        let clients = [
            number(&|c| c.reset),
            delayed(0),
            delayed(1),
            delayed(2),
            delayed(3),
            number(&|c| c.not_in),
            number(&|c| c.gave_up),
        ];
        self.rows.push(Row { name, clients, wait: likely.longest_wait_ns.map(duration::period) });
    }

    fn advise(&mut self, advice: &wire::Advised) {
        let number = |n: Option<u32>| n.map_or("none would do".to_owned(), |n| n.to_string());
        // Three digits, as the text has them.
        let a_second = |ns: u64| match 10_000_000_000_u64
            .checked_add(ns / 2)
            .map(|n| n.checked_div(ns))
        {
            None | Some(None) => "as fast as it can".to_owned(),
            Some(Some(0..10)) => format!("one in {}", duration::period(ns)),
            Some(Some(tenths @ 10..1000)) => format!("{}.{} a second", tenths / 10, tenths % 10),
            Some(Some(tenths)) => format!("{} a second", (tenths + 5) / 10),
        };
        let mut fact = |name: &str, value: String| self.advice.push((name.to_owned(), value));
        fact("smallest backlog that hurts nobody", number(advice.backlog));
        let certain = number(advice.certain_backlog);
        fact("even if the application takes no more than it was seen to", certain);
        let needed = advice.accept_every_ns.map_or("none would do".to_owned(), a_second);
        fact("accept rate that hurts nobody at the recorded backlog", needed);
        if let Some(ns) = advice.accepted_every_ns {
            fact("accept rate while something waited", a_second(ns));
        }
        if let Some(ns) = advice.arrived_every_ns {
            fact("clients that came", a_second(ns));
        }
    }
}
