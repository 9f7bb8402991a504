//! History of a connection -> verdict with its evidence. Pure; sees no clock.

mod catalog;
mod columns;
mod counter;
mod id;
mod judge;
mod paths;
mod rules;
mod stage;
mod table;
mod wire_pattern;

use overflow_common::{Kind, Rung};

use crate::{decode::Event, syn_limit::SynQueueLimit};

pub use catalog::VerdictId;
pub use columns::{Class, ClientSide, DecidedBy, Ends, Family, ServerSide, Shown, Text};
pub use counter::{Counter, Effect};
pub use judge::judge;
pub(crate) use judge::judge_into;
pub use stage::{Connection, Functions, Known, Stage, Values};
pub use wire_pattern::WirePattern;

/// The verdict on one event alone, without the history it is part of; `None` as well where only the
/// history shows it: by tracepoints a third ACK is judged from how it was freed, and that is the
/// same for a request's and a cookie's.
pub fn of_one(event: &Event, syn_queue_limit: Option<SynQueueLimit>) -> Option<VerdictId> {
    if event.rung == Rung::Tracepoint && event.kind == Kind::Ack {
        return None;
    }
    let context = rules::Context { syn_queue_limit, ..rules::Context::default() };
    rules::judged(event, context).map(|(id, ..)| id)
}
