//! The audit's part of the pipeline: each event is told once, each look is compared and handed on.

use std::io;

use overflow_common::{Kind, Socket};

use super::{Engine, counted_by_signature, fresh, whose::is_meant};
use crate::sink::trace::{Audited, Message, Sink};
use overflow_core::{
    aggregates::Aggregates,
    audit::{Cut, Look},
    decode::Event,
    hook_point::{self, About},
    verdict::{self, Stage},
};

impl Engine {
    /// Tells of an event that was judged: of the one stage that is its own. What the kernel side
    /// counts is told by [`Self::tell_counts`].
    pub(super) fn tell(&mut self, observed: &Event, stages: &[Stage]) {
        if self.exact && counted_by_signature(observed, self.limit.limit()) {
            return;
        }
        let moves = |stage: &&Stage| !stage.id.counters().is_empty();
        if let Some(stage) = fresh(stages, observed.t_ns).filter(moves).last() {
            self.auditor.tell(observed, stage.id, true);
        }
    }

    /// Tells of an event that is not asked for, so that nobody takes it for missed.
    pub(super) fn tell_unasked(&mut self, observed: &Event) {
        let limit = self.limit.limit();
        let of_a_listener = match hook_point::about(observed.kind) {
            About::Listener | About::Request => true,
            About::Anybody => false,
        };
        if !of_a_listener || (self.exact && counted_by_signature(observed, limit)) {
            return;
        }
        match verdict::of_one(observed, limit) {
            Some(id) => self.auditor.tell(observed, id, false),
            None if observed.kind == Kind::Ack => self.auditor.tell_unknown(observed.conn.netns),
            None => {}
        }
    }

    /// Tells what the kernel side has counted so far.
    pub(super) fn tell_counts(&mut self, aggregates: &Aggregates) {
        let Self { auditor, decoder, limit, inventory, places, options, .. } = self;
        auditor.tell_counts(aggregates, decoder, limit.limit(), |place| {
            let socket = Socket { sk: 0, ino: place.ino, netns: place.netns };
            is_meant(inventory, places, &options.filter, &socket, place.local)
        });
    }

    /// Compares what was told with what the kernel counted.
    pub(super) fn look(&mut self, look: &Look) -> io::Result<()> {
        if !self.options.window.is_all() {
            // The counters' rise is that of the whole recording.
            return Ok(());
        }
        let losses = self.losses();
        self.auditor.look(look, &losses);
        if !matches!(look.cut, Cut::Running | Cut::Disarmed) {
            return Ok(());
        }
        self.audits = self.auditor.audits();
        let Some(namespaces) = &self.audits else { return Ok(()) };
        let last = look.cut == Cut::Disarmed;
        self.sinks.handle(Message::Audit(&Audited { t_ns: look.t_ns, last, namespaces }))
    }
}
