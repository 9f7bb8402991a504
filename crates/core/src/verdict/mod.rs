//! History of a connection -> verdict with its evidence. Pure; sees no clock.

mod id;
mod judge;
mod paths;
mod rules;
mod stage;

use overflow_common::{Kind, Rung};

use crate::{decode::Observed, syn_limit::SynQueueLimit};

pub use id::VerdictId;
pub use judge::{judge, judge_into};
pub use stage::{Connection, Functions, Known, Stage, Values};

/// The verdict on one moment alone, without the story it is part of; `None` as well where only the
/// story tells: by tracepoints a third ACK is judged from how it was freed, and that is the same for
/// a request's and a cookie's.
pub fn of_one(moment: &Observed, syn_queue_limit: Option<SynQueueLimit>) -> Option<VerdictId> {
    if moment.rung == Rung::Tracepoint && moment.kind == Kind::Ack {
        return None;
    }
    let context = rules::Context { syn_queue_limit, ..rules::Context::default() };
    rules::judged(moment, context).map(|(id, ..)| id)
}
