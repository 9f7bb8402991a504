//! What was predicted of a pair against what happened.

use guest_cases::load::{Pair, Played};
use overflow_core::wire::{Line, WhatifClients};
use serde::{Deserialize, Serialize};

/// A prediction is right if no number of clients is off by more than this part of all of them.
pub const NEAR: f64 = 0.02;

/// The numbers of clients that are compared.
const FIGURES: [fn(&WhatifClients<'_>) -> u64; 4] = [
    |clients| clients.reset,
    |clients| clients.delayed,
    |clients| clients.not_in,
    |clients| clients.clients,
];

/// How a pair came out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judged {
    /// The pair.
    pub pair: Pair,
    /// Clients that were refused, delayed, and not in at the end: recorded at the first setting,
    /// predicted for the second, and what happened there.
    pub recorded: [u64; 3],
    /// See above.
    pub predicted: [u64; 3],
    /// See above.
    pub happened: [u64; 3],
    /// All clients that came in the second run.
    pub clients: u64,
    /// The largest difference between what was predicted and what happened, clients.
    pub off: u64,
    /// By how much what happened lies outside of what was stated as bounds, clients.
    pub beyond: u64,
    /// From one bound to the other, clients: the largest.
    #[serde(default)]
    pub width: u64,
    /// The same of the model at the setting that was recorded.
    pub off_as_it_was: u64,
    /// Why there is nothing to compare.
    pub failed: Option<String>,
}

impl Judged {
    /// Compares.
    pub fn of(pair: &Pair, played: &Played) -> Self {
        let nothing = |failed: String| Self {
            pair: pair.clone(),
            recorded: [0; 3],
            predicted: [0; 3],
            happened: [0; 3],
            clients: 0,
            off: 0,
            beyond: 0,
            width: 0,
            off_as_it_was: 0,
            failed: Some(failed),
        };
        if let Some(failed) = &played.failed {
            return nothing(failed.clone());
        }
        Self::compared(pair, played).unwrap_or_else(|| {
            nothing("overflow whatif did not print what it is to be compared by".to_owned())
        })
    }

    fn compared(pair: &Pair, played: &Played) -> Option<Self> {
        let lines = |values: &[serde_json::Value]| -> Vec<_> {
            let read =
                values.iter().map(|value| serde_json::from_value::<Line<'static>>(value.clone()));
            read.filter_map(|line| match line {
                Ok(Line::Whatif(line)) => Some(line),
                _ => None,
            })
            .collect()
        };
        let (predicted, happened) = (lines(&played.predicted), lines(&played.happened));
        // Asked about the setting that was recorded, there is one line.
        let as_it_was = predicted.first()?;
        let asked = predicted.get(1).unwrap_or(as_it_was);
        let happened = happened.first()?.recorded.as_ref()?;
        let recorded = as_it_was.recorded.as_ref()?;
        let at_pace = asked.at_pace.as_ref()?;
        let (least, most) = (asked.least.as_ref()?, asked.most.as_ref()?);
        let beyond = FIGURES.map(|figure| {
            let real = figure(happened);
            figure(least).saturating_sub(real).max(real.saturating_sub(figure(most)))
        });
        let width = FIGURES.map(|figure| figure(most) - figure(least));
        let three = |clients: &WhatifClients<'_>| [0, 1, 2].map(|i| FIGURES[i](clients));
        Some(Self {
            pair: pair.clone(),
            recorded: three(recorded),
            predicted: three(at_pace),
            happened: three(happened),
            clients: happened.clients,
            off: off(at_pace, happened),
            beyond: beyond.into_iter().max().unwrap_or(0),
            width: width.into_iter().max().unwrap_or(0),
            off_as_it_was: off(as_it_was.at_pace.as_ref()?, recorded),
            failed: None,
        })
    }

    /// Whether the prediction is right.
    pub fn near(&self) -> bool {
        self.failed.is_none() && self.is_near(self.off)
    }

    /// Whether what happened is within what was stated.
    pub fn within(&self) -> bool {
        self.failed.is_none() && self.beyond == 0
    }

    /// By how much the second run is off the first, clients: how far apart two runs are, where both are at
    /// the same setting.
    pub fn apart(&self) -> u64 {
        let off = self.recorded.iter().zip(self.happened).map(|(a, b)| a.abs_diff(b));
        off.max().unwrap_or(0)
    }

    /// Whether so many clients are near: of few, one is more than any part of them.
    pub fn is_near(&self, off: u64) -> bool {
        off <= 1 || self.part(off) <= NEAR
    }

    /// Whether anybody was hurt at either setting.
    pub fn hurts(&self) -> bool {
        self.recorded.iter().chain(&self.happened).any(|n| *n > 0)
    }

    /// As a part of all clients.
    #[allow(clippy::cast_precision_loss)] // small numbers
    pub fn part(&self, clients: u64) -> f64 {
        clients as f64 / self.clients.max(1) as f64
    }
}

fn off(one: &WhatifClients<'_>, other: &WhatifClients<'_>) -> u64 {
    FIGURES.map(|figure| figure(one).abs_diff(figure(other))).into_iter().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::whatif::lot::Lot;

    fn clients(reset: u64, delayed: u64, not_in: u64) -> Value {
        json!({"clients": 100, "reset": reset, "delayed": delayed, "delayed_below_s": {}, "not_in": not_in, "gave_up": 0})
    }

    fn line(more: &[(&str, Value)]) -> Value {
        let mut line = json!({"type": "whatif", "v": 1, "netns": 1, "listener": "*:80", "owner": null, "setting": {}});
        for (name, value) in more {
            line[name] = value.clone();
        }
        line
    }

    fn judged(at_pace: Value, most: Value, happened: Value) -> Judged {
        let as_it_was = line(&[("recorded", clients(0, 7, 0)), ("at_pace", clients(0, 5, 0))]);
        let bounds = [("least", at_pace.clone()), ("most", most), ("at_pace", at_pace)];
        let played = Played {
            predicted: vec![as_it_was, line(&bounds)],
            happened: vec![line(&[("recorded", happened)])],
            failed: None,
        };
        Judged::of(&Lot::new(1).draw(), &played)
    }

    #[test]
    fn distances_are_parts_of_all_clients() {
        let right = judged(clients(0, 10, 0), clients(0, 20, 3), clients(0, 12, 0));
        assert!(right.near() && right.within() && right.failed.is_none());
        assert_eq!((right.off, right.beyond, right.off_as_it_was), (2, 0, 2));
        let bounded = judged(clients(0, 10, 0), clients(0, 20, 3), clients(0, 15, 2));
        assert!(!bounded.near() && bounded.within());
        let wrong = judged(clients(0, 10, 0), clients(0, 20, 3), clients(4, 30, 0));
        assert!(!wrong.near() && !wrong.within());
        assert_eq!((wrong.off, wrong.beyond, wrong.width), (20, 10, 10));
        assert_eq!(wrong.apart(), 23, "7 were delayed in the first run, 30 in the second");
    }

    #[test]
    fn nothing_to_compare_is_no_success() {
        let failed = Judged::of(&Lot::new(1).draw(), &Played::default());
        assert!(failed.failed.is_some() && !failed.near() && !failed.within());
    }
}
