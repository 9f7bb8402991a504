//! The server's only processor, where it has one.

use std::collections::BTreeSet;

use super::{
    super::{
        processor::{Kind, Processor},
        queue::Event,
        time::{Nanos, US},
    },
    Run,
};

/// What `accept()` takes of a processor: an application that is interrupted sooner has not got on.
const ACCEPT: Nanos = 25 * US;

/// An application that needs longer than this to wake up is not on the same processor's doorstep.
const PREEMPTS: Nanos = 300 * US;

/// What it does, and who waits for it.
#[derive(Debug)]
pub(super) struct Work {
    /// Until when it works off segments.
    busy: Nanos,
    /// Since when an application could run.
    ready: Option<Nanos>,
    /// Clients on this machine that have something to send: whoever serves many of them takes them in the
    /// order in which it made them.
    sends: BTreeSet<usize>,
}

impl Work {
    pub(super) const fn new() -> Self {
        Self { busy: Nanos::MIN, ready: None, sends: BTreeSet::new() }
    }
}

impl Processor {
    /// Whether it is a segment that reaches this machine.
    const fn receives(&self, event: Event) -> bool {
        match event {
            Event::Syn | Event::Segment(_) | Event::PeerRst => true,
            Event::SynAck(_) | Event::DataAcked | Event::Rst => self.clients,
            _ => false,
        }
    }
}

impl Run<'_> {
    /// Handles an event when its processor comes to it.
    pub(super) fn in_turn(&mut self, i: usize, event: Event) {
        let Some(processor) = self.scenario.processor else { return self.handle(i, event) };
        match event {
            _ if processor.receives(event) => {
                if self.now < self.work.busy || !self.ingress.is_empty() {
                    if self.ingress.is_empty() {
                        self.queue.at(self.work.busy, i, Event::Ingress);
                    }
                    self.ingress.push_back((i, event));
                } else {
                    self.work_off(processor, i, event);
                }
            }
            Event::Ingress | Event::SendInTurn if self.now < self.work.busy => {
                self.queue.at(self.work.busy, i, event);
            }
            Event::Ingress => {
                let Some((i, event)) = self.ingress.pop_front() else { return };
                self.work_off(processor, i, event);
                if !self.ingress.is_empty() {
                    self.queue.at(self.work.busy, i, Event::Ingress);
                }
            }
            Event::Serve => {
                let ready = *self.work.ready.get_or_insert(self.now);
                let later = self.work.busy.saturating_add(ACCEPT).min(ready + processor.hold);
                if self.now < later {
                    self.queue.at(later, i, event);
                } else {
                    self.work.ready = None;
                    self.handle(i, event);
                }
            }
            Event::Send if processor.clients => {
                if self.work.sends.is_empty() {
                    let later = self.work.busy.saturating_add(ACCEPT).max(self.now);
                    self.queue.at(later, i, Event::SendInTurn);
                }
                self.work.sends.insert(i);
            }
            Event::SendInTurn => {
                let Some(next) = self.work.sends.pop_first() else { return };
                self.handle(next, Event::Send);
                self.work.busy = self.now + processor.costs.of(Kind::Other);
                if !self.work.sends.is_empty() {
                    self.queue.at(self.work.busy, i, event);
                }
            }
            _ => self.handle(i, event),
        }
    }

    fn work_off(&mut self, processor: Processor, i: usize, event: Event) {
        let decided = self.paths[i].decisions.len();
        let asleep = !self.worker.due;
        self.handle(i, event);
        let kind = self.paths[i].decisions.get(decided).map_or(Kind::Other, |d| Kind::of(d.id));
        self.work.busy = self.now + processor.costs.of(kind);
        if processor.preempts
            && asleep
            && self.worker.due
            && let Some(awake) = self.worker.awake
            && awake - self.now < PREEMPTS
        {
            // It runs as soon as this segment is worked off.
            self.work.busy = self.work.busy.max(awake);
            self.work.ready = Some(Nanos::MIN / 2);
        }
    }
}
