//! The pipeline from frames to output: decoded, attributed, judged, counted, shown. It sees no
//! clock and no kernel, so a replay of the same frames prints the same bytes.

mod audit;
mod causes;
mod part;
mod whose;

use std::{io, mem, ops::ControlFlow, ptr};

use overflow_common::{RawEvent, Rung};

use self::{part::Place, whose::is_a_listeners};
use super::{
    filter::Filter,
    grouped::listened,
    listener_cache::ListenerCache,
    listener_totals::ListenerTotals,
    whys::Whys,
    window::{Bounds as WindowBounds, Clocks, Window},
};
use crate::sink::trace::{Closing, Interval, Message, Opening, Sink, Snapshot};
use overflow_core::{
    audit::{Auditor, NamespaceAudit},
    clients::{self, HurtClients},
    connections::{Bounds, ConnTable, Id},
    decode::{Decoder, Event},
    hook_point::{self, Counted},
    listeners::Inventory,
    loss::Loss,
    recording::Frame,
    syn_limit::{SynLimitEstimator, SynQueueLimit},
    verdict::{self, Connection, Stage, VerdictId},
};

/// What to show.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Healthy events too.
    pub all: bool,
    /// Seconds between aggregates; events are not shown then.
    pub summary: Option<u64>,
    /// Events after which to stop.
    pub max_events: Option<u64>,
    /// Events shown in one second; the rest are counted.
    pub max_events_per_second: Option<u64>,
    /// Which listeners.
    pub filter: Filter,
    /// The part of it that is shown and counted.
    pub window: Window,
    /// Whether accept() is traced.
    pub accepts: bool,
    /// Whether holders of full listeners are looked at.
    pub why: bool,
    /// Hand abnormal handshakes to the sinks even while only aggregates are shown.
    pub handshakes: bool,
}

/// The pipeline.
pub struct Engine {
    options: Options,
    decoder: Decoder,
    /// Where this kernel's SYN queue limit was seen to be.
    limit: SynLimitEstimator,
    /// The history of each connection.
    table: ConnTable,
    /// Those of the connection that was judged last.
    stages: Vec<Stage>,
    inventory: Inventory,
    cache: ListenerCache,
    places: ListenerTotals,
    sinks: Vec<Box<dyn Sink>>,
    losses: Vec<(Loss, u64)>,
    /// Until when records are known to have been lost, CLOCK_MONOTONIC nanoseconds.
    lost_ns: Option<u64>,
    begun_ns: Option<u64>,
    last_ns: u64,
    /// How the window is found on the records' clock, and where it is, from the first moment on.
    clocks: Clocks,
    bounds: Option<WindowBounds>,
    /// Whether what was asked for has not begun yet.
    outside: bool,
    interval_ns: Option<u64>,
    /// The second that is being limited, and the events shown and not shown in it.
    second: (u64, u64, u64),
    shown: u64,
    suppressed: u64,
    connections: u64,
    /// What became of clients that were hurt.
    clients: HurtClients,
    /// Whether the kernel counts SYNs, third ACKs and accept()s: then records are not counted.
    exact: bool,
    /// What was told of the kernel's counters, and what came out of it at the last look.
    auditor: Auditor,
    audits: Option<Vec<NamespaceAudit>>,
    /// Why listeners are full.
    whys: Whys,
    /// Stages that are no part of a healthy handshake, so far.
    abnormal: u64,
}

impl Engine {
    /// A pipeline that reports to `sinks`; it begins with `opening`.
    pub fn new(
        options: Options,
        decoder: Decoder,
        mut sinks: Vec<Box<dyn Sink>>,
        opening: &Opening,
    ) -> io::Result<Self> {
        sinks.handle(Message::Open(opening))?;
        let auditor = Auditor::new(&opening.rungs, &options.filter.netns);
        Ok(Self {
            options,
            decoder,
            limit: SynLimitEstimator::default(),
            table: ConnTable::new(Bounds::LIVE).handing_over_shown(sinks.wants_connections()),
            stages: Vec::new(),
            inventory: Inventory::default(),
            cache: ListenerCache::default(),
            places: ListenerTotals::default(),
            sinks,
            losses: Vec::new(),
            lost_ns: None,
            begun_ns: None,
            last_ns: 0,
            clocks: Clocks {
                wall_offset_ns: opening.wall_offset_ns,
                utc_offset_s: opening.utc_offset_s,
            },
            bounds: None,
            outside: true,
            interval_ns: None,
            second: (0, 0, 0),
            shown: 0,
            suppressed: 0,
            connections: 0,
            clients: HurtClients::default(),
            exact: false,
            auditor,
            audits: None,
            whys: Whys::default(),
            abnormal: 0,
        })
    }

    /// Takes one frame. Breaks when no more are wanted.
    pub fn feed(&mut self, frame: Frame) -> io::Result<ControlFlow<()>> {
        match (self.place(&frame), &frame) {
            (Place::Inside, _) | (Place::Before, Frame::Aggregates(..)) => {}
            (Place::Before, Frame::Tick(t_ns)) => return self.pass(*t_ns),
            (Place::Before, _) => return Ok(ControlFlow::Continue(())),
            (Place::After, _) => return Ok(ControlFlow::Break(())),
        }
        match frame {
            Frame::Event(event) => return self.event(&event),
            Frame::Inventory(inventory) => {
                let earlier = mem::replace(&mut self.inventory, *inventory);
                self.places.replaced(&earlier, &self.inventory);
                self.inventory.inherit_owners(earlier);
                let Self { inventory, places, .. } = &mut *self;
                inventory.fill_owners(|netns, ino| places.listener(netns, ino)?.owner.clone());
                self.cache.clear();
                self.places.learn(&self.inventory, self.last_ns);
            }
            Frame::Opened(listener) => self.opened(*listener),
            Frame::Aggregates(t_ns, aggregates) => self.aggregates(t_ns, &aggregates),
            Frame::Losses(losses) => {
                if !of_records(&losses).eq(of_records(&self.losses)) {
                    self.lost_ns = Some(self.last_ns);
                }
                self.losses = losses;
            }
            Frame::Look(look) => self.look(&look)?,
            Frame::Evidence(evidence) => self.evidence(&evidence)?,
            Frame::Tick(t_ns) => self.tick(t_ns)?,
            Frame::Gap(t_ns) => {
                self.last_ns = self.last_ns.max(t_ns);
                // What becomes of whoever was there is not known.
                self.hand_over()?;
            }
            Frame::End(t_ns) => self.last_ns = self.last_ns.max(t_ns),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// How many stages were no part of a healthy handshake, of listeners that are asked for.
    pub fn abnormal(&self) -> u64 {
        self.abnormal
    }

    /// Which listeners are asked for.
    pub fn filter(&self) -> &Filter {
        &self.options.filter
    }

    /// Has everything that was printed seen now.
    pub fn flush(&mut self) -> io::Result<()> {
        self.sinks.handle(Message::Flush)
    }

    /// Hands what is left to the sinks. Only [`Self::close`] may follow, and losses.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.hand_over()?;
        let losses = self.losses();
        let Self { places, sinks, options, inventory, suppressed, last_ns, audits, .. } = self;
        let mut snapshot = snapshot(places, inventory, options, *last_ns, *suppressed, losses);
        snapshot.audit = audits.as_deref();
        sinks.handle(Message::Ending(&snapshot))
    }

    fn hand_over(&mut self) -> io::Result<()> {
        self.end_second()?;
        let now_ns = self.last_ns;
        let (mut finishing, table, limit) = self.finishing(now_ns);
        table.finish(limit, Some(&mut |connection, at| finishing.take(connection, at)))
    }

    /// Prints what is left and the summary.
    pub fn close(&mut self) -> io::Result<()> {
        self.hand_over()?;
        let seconds = seconds(self.begun_ns.unwrap_or(self.last_ns), self.last_ns);
        let losses = self.losses();
        let Self { places, sinks, options, inventory, audits, .. } = self;
        let closing = Closing {
            seconds,
            listeners: listened(places, inventory, |c| &c.total),
            accepts: options.accepts,
            connections: self.connections,
            clients: self.clients,
            suppressed: self.suppressed,
            losses,
            audit: audits.as_deref(),
            part: !options.window.is_all(),
        };
        sinks.handle(Message::Close(&closing))
    }

    /// Counts a loss outside the pipeline.
    pub fn lose(&mut self, loss: Loss, count: u64) {
        if count > 0 {
            if loss.hides_records() {
                self.lost_ns = Some(u64::MAX);
            }
            self.losses.push((loss, count));
        }
    }

    /// Everything lost so far, by cause, zeros left out.
    pub(crate) fn losses(&self) -> Vec<(Loss, u64)> {
        let own = [(Loss::Undecoded, self.decoder.unknown())];
        let own = own.into_iter().chain(self.table.losses());
        self.losses.iter().cloned().chain(own).filter(|(_, count)| *count > 0).collect()
    }

    /// What came of the audit at the last look; `None` where counters were never compared.
    pub fn audits(&self) -> Option<&[NamespaceAudit]> {
        self.audits.as_deref()
    }

    /// Prefetches the histories of records that will be taken next; a few dozen at a time.
    pub fn expect(&self, events: &[RawEvent]) {
        self.table.expect(events.iter().filter_map(Decoder::connection));
    }

    /// Takes one record. Breaks when no more are wanted.
    pub fn event(&mut self, event: &RawEvent) -> io::Result<ControlFlow<()>> {
        let decoded = self.decoder.decode(event);
        let Some(observed) = &decoded else {
            self.lost_ns = Some(self.last_ns);
            return Ok(ControlFlow::Continue(()));
        };
        let place_in_time = self.at(observed.t_ns);
        if place_in_time == Place::After {
            return Ok(ControlFlow::Break(()));
        }
        self.begun_ns.get_or_insert(observed.t_ns);
        self.last_ns = self.last_ns.max(observed.t_ns);
        if self.places.crowded() {
            self.make_room();
        }
        let asked = self.asked(observed);
        let server = asked.server;
        let Self { cache, inventory, options, places, table, .. } = self;
        let known = cache.find(inventory, places, &options.filter, asked);
        let anybodys = asked.ino.is_none() && !known.seen;
        if !known.meant || (anybodys && !is_a_listeners(observed, table)) {
            self.tell_unasked(observed);
            return Ok(ControlFlow::Continue(()));
        }
        let (key, place) = (known.key, known.number(places, server));
        self.limit.learn(observed);
        places.look(place, key, server, inventory);
        let mut stages = mem::take(&mut self.stages);
        let (mut finishing, table, limit) = self.finishing(observed.t_ns);
        let mut on_finished = |connection: &mut Connection, at| finishing.take(connection, at);
        let id = table.add(observed, limit, &mut stages, Some(&mut on_finished))?;
        if place_in_time == Place::Before {
            self.stages = stages;
            return Ok(ControlFlow::Continue(()));
        }
        self.places.counted(place).event(observed);
        if self.options.why {
            self.whys.event(key, observed);
        }
        self.tell(observed, &stages);
        let flow = self.stages(place, observed, id, &stages);
        self.stages = stages;
        flow
    }

    /// Counts and shows the stages that an event brought about, of all of its connection.
    fn stages(
        &mut self,
        place: usize,
        observed: &Event,
        id: Id,
        stages: &[Stage],
    ) -> io::Result<ControlFlow<()>> {
        for stage in fresh(stages, observed.t_ns) {
            let by_kernel = self.exact && counted_by_kernel(observed, stage.id, self.limit.limit());
            let counted = self.places.counted(place);
            if !by_kernel {
                counted.verdict(stage.id);
            }
            if phantom(stages, stage, observed.t_ns) {
                counted.phantom();
            }
            if first_harm(stages, stage, observed.t_ns) {
                counted.hurt();
            }
            let abnormal = stage.id.is_abnormal();
            self.abnormal += u64::from(abnormal);
            if self.options.summary.is_none() && (self.options.all || abnormal) {
                let flow = self.show(observed, id, stage)?;
                if flow.is_break() {
                    return Ok(flow);
                }
            } else if self.options.handshakes && abnormal {
                self.table.mark_shown(id);
                self.hand(observed, stage)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn show(&mut self, observed: &Event, id: Id, stage: &Stage) -> io::Result<ControlFlow<()>> {
        if let Some(most) = self.options.max_events_per_second {
            let second = observed.t_ns / 1_000_000_000;
            // Records of several CPUs can arrive out of order; an earlier second is not opened
            // again.
            if second > self.second.0 {
                self.end_second()?;
                self.second = (second, 0, 0);
            }
            if self.second.1 >= most {
                self.second.2 += 1;
                self.suppressed += 1;
                return Ok(ControlFlow::Continue(()));
            }
            self.second.1 += 1;
        }
        self.connections += u64::from(self.table.mark_shown(id));
        self.hand(observed, stage)?;
        self.shown += 1;
        if self.options.max_events.is_some_and(|most| self.shown >= most) {
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn end_second(&mut self) -> io::Result<()> {
        let count = mem::take(&mut self.second.2);
        if count > 0 { self.sinks.handle(Message::Suppressed(count)) } else { Ok(()) }
    }

    /// Lets go of what nothing more is expected of.
    fn expire(&mut self, t_ns: u64) -> io::Result<()> {
        self.make_room();
        let (mut finishing, table, limit) = self.finishing(t_ns);
        table.expire(t_ns, limit, Some(&mut |connection, at| finishing.take(connection, at)))
    }

    fn tick(&mut self, t_ns: u64) -> io::Result<()> {
        self.begun_ns.get_or_insert(t_ns);
        self.last_ns = self.last_ns.max(t_ns);
        if self.second.0 < t_ns / 1_000_000_000 {
            self.end_second()?;
        }
        self.expire(t_ns)?;
        let losses = self.losses();
        let Self { places, sinks, options, inventory, suppressed, audits, .. } = self;
        let mut snapshot = snapshot(places, inventory, options, t_ns, *suppressed, losses);
        snapshot.audit = audits.as_deref();
        sinks.handle(Message::Second(&snapshot))?;
        let Some(every) = self.options.summary else { return Ok(()) };
        let since = *self.interval_ns.get_or_insert(t_ns);
        // Ticks come a little late rather than early.
        let nearly = every.saturating_mul(1_000_000_000).saturating_sub(100_000_000);
        if t_ns.saturating_sub(since) < nearly {
            return Ok(());
        }
        self.interval_ns = Some(t_ns);
        let Self { places, sinks, options, inventory, .. } = self;
        let interval = Interval {
            t_ns,
            seconds: seconds(since, t_ns),
            listeners: listened(places, inventory, |c| &c.recent),
            accepts: options.accepts,
        };
        sinks.handle(Message::Interval(&interval))?;
        places.next_interval();
        Ok(())
    }
}

/// Whether a verdict of this event is in the kernel's counts. What follows only from its connection's
/// history is not (`later.recovered`).
fn counted_by_kernel(observed: &Event, id: VerdictId, limit: Option<SynQueueLimit>) -> bool {
    match hook_point::counted(observed.kind) {
        Counted::Accepts => id == VerdictId::LaterAcceptedByApp,
        // By tracepoints it can be unknown whose a segment was: that is counted from its record.
        Counted::Signatures if observed.sk == 0 => false,
        Counted::Signatures => {
            // A SYN that Fast Open refuses is two things, of which the kernel side counts one.
            let counted_beside = id != VerdictId::SynFastopenQueueFull && !id.is_later();
            verdict::of_one(observed, limit).is_some_and(|alone| alone == id || counted_beside)
        }
        Counted::No => false,
    }
}

/// Whether the kernel side counts this event by what it went through.
fn counted_by_signature(observed: &Event, limit: Option<SynQueueLimit>) -> bool {
    hook_point::counted(observed.kind) == Counted::Signatures
        && observed.sk != 0
        && verdict::of_one(observed, limit).is_some()
}

/// Losses of records, by which something that happened is not seen.
fn of_records(losses: &[(Loss, u64)]) -> impl Iterator<Item = &(Loss, u64)> {
    losses.iter().filter(|(loss, _)| loss.hides_records())
}

/// The stages that the event at `t_ns` brought about.
fn fresh(stages: &[Stage], t_ns: u64) -> impl Iterator<Item = &Stage> {
    let now = move |s: &&Stage| s.t_ns == t_ns || s.repeats_ns.last() == Some(&t_ns);
    stages.iter().filter(now)
}

/// Whether this stage, of the event at `t_ns`, is where the client was left alone with a connection
/// that it believes established: the first time in a handshake that an ACK finds no room. What is
/// sent on such a connection is dropped alike, and counts no more.
fn phantom(stages: &[Stage], stage: &Stage, t_ns: u64) -> bool {
    let earlier = stages.iter().rev().skip_while(|s| s.t_ns >= t_ns);
    stage.id.is_overflow_drop()
        && stage.t_ns == t_ns
        && stage.repeats_ns.is_empty()
        && !earlier.take_while(|s| !s.id.is_syn()).any(|s| s.id.is_overflow_drop())
}

/// Whether this stage, of the event at `t_ns`, is where a client is hurt for the first time.
fn first_harm(stages: &[Stage], stage: &Stage, t_ns: u64) -> bool {
    let first = stages.iter().find(|s| clients::hurts(s.id));
    stage.t_ns == t_ns
        && stage.repeats_ns.is_empty()
        && first.is_some_and(|first| ptr::eq(first, stage))
}

fn snapshot<'a>(
    places: &'a ListenerTotals,
    inventory: &'a Inventory,
    options: &'a Options,
    t_ns: u64,
    suppressed: u64,
    losses: Vec<(Loss, u64)>,
) -> Snapshot<'a> {
    Snapshot {
        t_ns,
        listeners: listened(places, inventory, |c| &c.total),
        inventory,
        filter: &options.filter,
        accepts: options.accepts,
        suppressed,
        losses,
        audit: None,
    }
}

fn seconds(from_ns: u64, to_ns: u64) -> f64 {
    std::time::Duration::from_nanos(to_ns.saturating_sub(from_ns)).as_secs_f64()
}

/// Whether healthy events are needed to judge the rest: without the kernel's own word for an
/// overflow, the tracepoint rung distinguishes a third ACK's RST from others by the request before it.
pub fn needs_healthy(rung: Option<Rung>, drop_reasons: &[(u32, String)]) -> bool {
    rung == Some(Rung::Tracepoint)
        && !drop_reasons.iter().any(|(_, name)| name == "TCP_LISTEN_OVERFLOW")
}
