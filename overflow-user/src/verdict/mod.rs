//! Story of a connection -> verdict with its evidence. Pure; sees no clock.

mod id;
mod judge;
mod paths;
mod rules;
mod stage;

use crate::{correlate::SynQueueLimit, decode::Observed};

pub use id::VerdictId;
pub use judge::{judge, judge_into};
pub use stage::{Connection, Functions, Known, Stage, Values};

/// The verdict on one moment alone, without the story it is part of.
pub fn of_one(moment: &Observed, syn_queue_limit: Option<SynQueueLimit>) -> Option<VerdictId> {
    let context = rules::Context { syn_queue_limit, ..rules::Context::default() };
    rules::judged(moment, context).map(|(id, ..)| id)
}
