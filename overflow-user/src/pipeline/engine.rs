//! The pipeline from frames to output: decoded, attributed, judged, counted, shown. It sees no
//! clock and no kernel, so a replay of the same frames prints the same bytes.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::SocketAddr,
    ops::ControlFlow,
};

use overflow_common::{Event, Kind, Rung};

use super::{
    filter::Filter,
    stories::{Bounds, Stories},
};
use crate::{
    aggregates::{self, Aggregates},
    correlate::Table,
    decode::{Decoder, Observed},
    listeners::{Inventory, Listener, Sysctls},
    record::Frame,
    sink::live::{Closing, Interval, Listened, LiveSink, Moment, Snapshot, Totals},
    verdict::{Connection, Stage, VerdictId},
};

/// What to show.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Healthy moments too.
    pub all: bool,
    /// Seconds between aggregates; moments are not shown then.
    pub summary: Option<u64>,
    /// Moments after which to stop.
    pub max_events: Option<u64>,
    /// Moments shown in one second; the rest are counted.
    pub max_events_per_second: Option<u64>,
    /// Which listeners.
    pub filter: Filter,
    /// Whether accept() is traced.
    pub accepts: bool,
    /// Hand abnormal handshakes to the sink even while only aggregates are shown.
    pub handshakes: bool,
}

/// Where something happened: network namespace and the listener's address, or the connection's
/// where no listener is known.
type Place = (u32, SocketAddr);

/// What happened at one listener, in all and since the last aggregates were shown.
#[derive(Default)]
struct Counted {
    total: Totals,
    recent: Totals,
    /// The listeners there when something last happened, of that inventory: they can be closed by
    /// the time the summary is printed.
    listeners: Vec<Listener>,
    sysctls: Option<Sysctls>,
    inventory: u64,
    /// What the kernel had counted here when it was last asked, and when `recent` began.
    exact: aggregates::Place,
    exact_before: aggregates::Place,
}

impl Counted {
    /// Takes what the kernel has counted here since it was attached. Without accept() in sight a
    /// queue never seems to get shorter.
    fn exact(&mut self, now: aggregates::Place, accepts: bool) {
        for (id, count) in &now.verdicts {
            let before = self.exact.verdicts.get(id).copied().unwrap_or(0);
            for totals in [&mut self.total, &mut self.recent] {
                let more = count.saturating_sub(before);
                if more > 0 {
                    let sum = totals.verdicts.entry(*id).or_default();
                    *sum = sum.saturating_add(more);
                }
            }
        }
        for (totals, before) in [
            (&mut self.total, &aggregates::Place::default()),
            (&mut self.recent, &self.exact_before),
        ] {
            totals.full = accepts.then(|| now.full.since(&before.full));
            totals.waits = accepts.then(|| now.waits.since(&before.waits));
            totals.recv_q = now.recv_q.or(totals.recv_q);
            if now.recv_q.is_some() {
                totals.recv_q_max = totals.recv_q_max.max(Some(now.recv_q_max));
            }
        }
        self.exact = now;
    }

    /// Remembers the listeners that connections to `server` belong to, if there are any.
    fn learn(&mut self, inventory: &Inventory, netns: u32, server: SocketAddr) {
        let known = inventory.find(netns, server);
        if !known.is_empty() {
            self.listeners = known.into_iter().cloned().collect();
            self.sysctls = inventory.namespaces.get(&netns).map(|s| s.sysctls);
        }
    }
}

/// The pipeline.
pub struct Engine {
    options: Options,
    decoder: Decoder,
    /// Keeps no story: it learns where this kernel's SYN queue limit is.
    limit: Table,
    stories: Stories,
    inventory: Inventory,
    /// How many inventories came.
    inventories: u64,
    places: BTreeMap<Place, Counted>,
    sink: Box<dyn LiveSink>,
    losses: Vec<(String, u64)>,
    /// Until when records are known to have been lost, CLOCK_MONOTONIC nanoseconds.
    lost_ns: Option<u64>,
    begun_ns: Option<u64>,
    last_ns: u64,
    interval_ns: Option<u64>,
    /// The second that is being limited, and the moments shown and not shown in it.
    second: (u64, u64, u64),
    shown: u64,
    suppressed: u64,
    connections: u64,
    /// Whether the kernel counts SYNs, third ACKs and accept()s: then records are not counted.
    exact: bool,
}

impl Engine {
    /// A pipeline that prints to `sink`.
    pub fn new(options: Options, decoder: Decoder, sink: Box<dyn LiveSink>) -> Self {
        Self {
            options,
            decoder,
            limit: Table::new(0, 0),
            stories: Stories::new(Bounds::LIVE),
            inventory: Inventory::default(),
            inventories: 0,
            places: BTreeMap::new(),
            sink,
            losses: Vec::new(),
            lost_ns: None,
            begun_ns: None,
            last_ns: 0,
            interval_ns: None,
            second: (0, 0, 0),
            shown: 0,
            suppressed: 0,
            connections: 0,
            exact: false,
        }
    }

    /// Takes one frame. Breaks when no more are wanted.
    pub fn feed(&mut self, frame: Frame, out: &mut dyn Write) -> io::Result<ControlFlow<()>> {
        match frame {
            Frame::Event(event) => return self.event(&event, out),
            Frame::Inventory(inventory) => {
                let earlier = std::mem::replace(&mut self.inventory, *inventory);
                self.inventory.inherit_owners(earlier);
                self.inventories += 1;
                for (&(netns, server), counted) in &mut self.places {
                    if counted.listeners.is_empty() {
                        counted.learn(&self.inventory, netns, server);
                    }
                }
            }
            Frame::Aggregates(t_ns, aggregates) => self.aggregates(t_ns, &aggregates),
            Frame::Losses(losses) => {
                if !of_records(&losses).eq(of_records(&self.losses)) {
                    self.lost_ns = Some(self.last_ns);
                }
                self.losses = losses;
            }
            Frame::Tick(t_ns) => self.tick(t_ns, out)?,
            Frame::End(t_ns) => self.last_ns = self.last_ns.max(t_ns),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Which listeners are asked for.
    pub fn filter(&self) -> &Filter {
        &self.options.filter
    }

    /// Whether this record is about a listener that the inventory lacks.
    pub fn is_stranger(&self, event: &Event) -> bool {
        let about_a_listener = matches!(
            Kind::from_u8(event.kind),
            Some(Kind::Syn | Kind::Ack | Kind::SynAckRetransmit)
        );
        about_a_listener
            && Decoder::connection(event)
                .is_some_and(|key| self.inventory.find(key.netns, key.server).is_empty())
    }

    /// Hands what is left to the sink. Only [`Self::close`] may follow, and losses.
    pub fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.hand_over(out)?;
        let losses = self.losses();
        let Self { places, sink, options, inventory, suppressed, last_ns, .. } = self;
        sink.ending(out, &snapshot(places, inventory, options, *last_ns, *suppressed, losses))
    }

    fn hand_over(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.end_second(out)?;
        for connection in self.stories.finish(self.limit.syn_queue_limit()) {
            self.tell(connection, out)?;
        }
        Ok(())
    }

    /// Hands over a connection of which no more is heard. What became of it stays open if that
    /// follows only from silence, and some of its records may have been lost.
    fn tell(&mut self, mut connection: Connection, out: &mut dyn Write) -> io::Result<()> {
        let begun = connection.stages.first().map(|stage| stage.t_ns);
        if self.lost_ns.is_some_and(|lost| begun.is_none_or(|begun| begun <= lost)) {
            let silent =
                |id: &VerdictId| matches!(id, VerdictId::LaterPhantom | VerdictId::LaterPending);
            connection.outcome = connection.outcome.filter(|id| !silent(id));
        }
        self.sink.connection(out, &connection)
    }

    /// Prints what is left and the summary.
    pub fn close(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.hand_over(out)?;
        let seconds = seconds(self.begun_ns.unwrap_or(self.last_ns), self.last_ns);
        let losses = self.losses();
        let Self { places, sink, options, .. } = self;
        let closing = Closing {
            seconds,
            listeners: listened(places, |c| &c.total),
            accepts: options.accepts,
            connections: self.connections,
            suppressed: self.suppressed,
            losses,
        };
        sink.close(out, &closing)
    }

    /// Counts a loss outside the pipeline.
    pub fn lose(&mut self, what: &str, count: u64) {
        if count > 0 {
            self.losses.push((what.to_owned(), count));
            self.lost_ns = Some(u64::MAX);
        }
    }

    /// Everything lost so far, by cause, zeros left out.
    pub fn losses(&self) -> Vec<(String, u64)> {
        let own = [("records that could not be decoded", self.decoder.unknown())];
        let own = own.into_iter().chain(self.stories.losses());
        let own = own.map(|(what, count)| (what.to_owned(), count));
        self.losses.iter().cloned().chain(own).filter(|(_, count)| *count > 0).collect()
    }

    fn event(&mut self, event: &Event, out: &mut dyn Write) -> io::Result<ControlFlow<()>> {
        let Some(moment) = self.decoder.decode(event) else {
            self.lost_ns = Some(self.last_ns);
            return Ok(ControlFlow::Continue(()));
        };
        self.begun_ns.get_or_insert(moment.t_ns);
        self.last_ns = self.last_ns.max(moment.t_ns);
        let key = moment.conn;
        if !self.options.filter.address(key.netns, key.server) {
            return Ok(ControlFlow::Continue(()));
        }
        let listeners = self.inventory.find(key.netns, key.server);
        if !self.options.filter.owner(&listeners)
            || (listeners.is_empty() && !self.is_a_listeners(&moment))
        {
            return Ok(ControlFlow::Continue(()));
        }
        let place = (key.netns, listeners.first().map_or(key.server, |l| l.local));
        self.limit.push(moment.clone());
        let limit = self.limit.syn_queue_limit();
        let mut over = Vec::new();
        let connection = self.stories.add(&moment, limit, &mut over);
        for connection in over {
            self.tell(connection, out)?;
        }
        self.count(place, &moment);
        for stage in fresh(&connection, moment.t_ns) {
            let counted = self.places.entry(place).or_default();
            let by_kernel = self.exact
                && matches!(moment.kind, Kind::Syn | Kind::Ack | Kind::Accept)
                && (!stage.id.is_under("later") || stage.id == VerdictId::LaterAcceptedByApp);
            if !by_kernel {
                for totals in [&mut counted.total, &mut counted.recent] {
                    let sum = totals.verdicts.entry(stage.id).or_default();
                    *sum = sum.saturating_add(1);
                }
            }
            if phantom(&connection, stage, moment.t_ns) {
                counted.total.phantoms += 1;
                counted.recent.phantoms += 1;
            }
            let abnormal = stage.id.is_abnormal();
            if self.options.summary.is_none() && (self.options.all || abnormal) {
                let flow = self.show(&moment, stage, out)?;
                if flow.is_break() {
                    return Ok(flow);
                }
            } else if self.options.handshakes && abnormal {
                self.stories.mark_shown(&moment.conn);
                let listeners = self.inventory.find(moment.conn.netns, moment.conn.server);
                let t_ns = moment.t_ns;
                let moment = Moment { t_ns, observed: &moment, stage, listeners: &listeners };
                self.sink.moment(out, &moment)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn aggregates(&mut self, t_ns: u64, aggregates: &Aggregates) {
        self.exact = true;
        let limit = self.limit.syn_queue_limit();
        for ((netns, local), now) in aggregates.places(&mut self.decoder, limit, t_ns) {
            let listeners = self.inventory.find(netns, local);
            let filter = &self.options.filter;
            let meant = if listeners.is_empty() {
                filter.address(netns, local) && !filter.by_owner()
            } else {
                listeners.iter().any(|l| filter.listener(l))
            };
            if !meant {
                continue;
            }
            let counted = self.places.entry((netns, local)).or_default();
            if counted.inventory != self.inventories {
                counted.inventory = self.inventories;
                counted.learn(&self.inventory, netns, local);
            }
            counted.exact(now, self.options.accepts);
        }
    }

    /// Whether a record whose address has no known listener is about one all the same: it could
    /// have been closed meanwhile. An RST to somebody else's segment is not.
    fn is_a_listeners(&self, moment: &Observed) -> bool {
        match moment.kind {
            Kind::Syn | Kind::Ack | Kind::SynAckRetransmit | Kind::RequestRemoved => true,
            Kind::Reset | Kind::ActiveReset | Kind::Accept => self.stories.knows(&moment.conn),
        }
    }

    fn count(&mut self, place: Place, moment: &Observed) {
        let queues = [Some(moment.before), moment.after];
        let counted = self.places.entry(place).or_default();
        if counted.inventory != self.inventories {
            counted.inventory = self.inventories;
            counted.learn(&self.inventory, place.0, moment.conn.server);
        }
        for totals in [&mut counted.total, &mut counted.recent] {
            totals.synack_retransmits += u64::from(moment.kind == Kind::SynAckRetransmit);
            for queue in queues.iter().flatten() {
                if let Some((len, limit)) = queue.accept {
                    totals.recv_q_max = totals.recv_q_max.max(Some(len));
                    totals.recv_q = Some((len, limit));
                }
                totals.syn_queue_max = totals.syn_queue_max.max(queue.qlen);
            }
        }
    }

    fn show(
        &mut self,
        moment: &Observed,
        stage: &Stage,
        out: &mut dyn Write,
    ) -> io::Result<ControlFlow<()>> {
        if let Some(most) = self.options.max_events_per_second {
            let second = moment.t_ns / 1_000_000_000;
            // Records of several CPUs can arrive out of order; an earlier second is not opened
            // again.
            if second > self.second.0 {
                self.end_second(out)?;
                self.second = (second, 0, 0);
            }
            if self.second.1 >= most {
                self.second.2 += 1;
                self.suppressed += 1;
                return Ok(ControlFlow::Continue(()));
            }
            self.second.1 += 1;
        }
        self.connections += u64::from(self.stories.mark_shown(&moment.conn));
        let listeners = self.inventory.find(moment.conn.netns, moment.conn.server);
        let line = Moment { t_ns: moment.t_ns, observed: moment, stage, listeners: &listeners };
        self.sink.moment(out, &line)?;
        self.shown += 1;
        if self.options.max_events.is_some_and(|most| self.shown >= most) {
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn end_second(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let count = std::mem::take(&mut self.second.2);
        if count > 0 { self.sink.suppressed(out, count) } else { Ok(()) }
    }

    fn tick(&mut self, t_ns: u64, out: &mut dyn Write) -> io::Result<()> {
        self.begun_ns.get_or_insert(t_ns);
        self.last_ns = self.last_ns.max(t_ns);
        if self.second.0 < t_ns / 1_000_000_000 {
            self.end_second(out)?;
        }
        for connection in self.stories.expire(t_ns, self.limit.syn_queue_limit()) {
            self.tell(connection, out)?;
        }
        let losses = self.losses();
        let Self { places, sink, options, inventory, suppressed, .. } = self;
        sink.second(out, &snapshot(places, inventory, options, t_ns, *suppressed, losses))?;
        let Some(every) = self.options.summary else { return Ok(()) };
        let since = *self.interval_ns.get_or_insert(t_ns);
        // Ticks come a little late rather than early.
        let nearly = every.saturating_mul(1_000_000_000).saturating_sub(100_000_000);
        if t_ns.saturating_sub(since) < nearly {
            return Ok(());
        }
        self.interval_ns = Some(t_ns);
        let Self { places, sink, options, .. } = self;
        let interval = Interval {
            t_ns,
            seconds: seconds(since, t_ns),
            listeners: listened(places, |c| &c.recent),
            accepts: options.accepts,
        };
        sink.interval(out, &interval)?;
        for counted in places.values_mut() {
            counted.recent = Totals::default();
            counted.exact_before = counted.exact.clone();
        }
        Ok(())
    }
}

/// Losses of records, by which something that happened is not seen. Others are of what is told.
fn of_records(losses: &[(String, u64)]) -> impl Iterator<Item = &(String, u64)> {
    losses.iter().filter(|(what, _)| what.starts_with("ebpf ") || what.starts_with("records "))
}

/// The stages that the moment at `t_ns` brought about.
fn fresh(connection: &Connection, t_ns: u64) -> impl Iterator<Item = &Stage> {
    let now = move |s: &&Stage| s.t_ns == t_ns || s.repeats_ns.last() == Some(&t_ns);
    connection.stages.iter().filter(now)
}

/// Whether this stage, of the moment at `t_ns`, is where the client was left alone with a connection
/// that it believes established: the first time in a handshake that an ACK finds no room. What is
/// sent on such a connection is dropped alike, and counts no more.
fn phantom(connection: &Connection, stage: &Stage, t_ns: u64) -> bool {
    let dropped = |id| matches!(id, VerdictId::AckDropOverflow | VerdictId::AckDropOverflowCookie);
    let earlier = connection.stages.iter().rev().skip_while(|s| s.t_ns >= t_ns);
    dropped(stage.id)
        && stage.t_ns == t_ns
        && stage.repeats_ns.is_empty()
        && !earlier.take_while(|s| !s.id.is_under("syn")).any(|s| dropped(s.id))
}

fn snapshot<'a>(
    places: &'a BTreeMap<Place, Counted>,
    inventory: &'a Inventory,
    options: &Options,
    t_ns: u64,
    suppressed: u64,
    losses: Vec<(String, u64)>,
) -> Snapshot<'a> {
    Snapshot {
        t_ns,
        listeners: listened(places, |c| &c.total),
        inventory,
        accepts: options.accepts,
        suppressed,
        losses,
    }
}

/// Listeners where something happened, those with the most overflows first.
fn listened<'a>(
    places: &'a BTreeMap<Place, Counted>,
    which: impl Fn(&'a Counted) -> &'a Totals,
) -> Vec<Listened<'a>> {
    let eventful = |t: &Totals| !t.verdicts.is_empty() || t.synack_retransmits > 0;
    let mut listened: Vec<Listened<'a>> = places
        .iter()
        .map(|(place, counted)| (place, counted, which(counted)))
        .filter(|(_, _, totals)| eventful(totals))
        .map(|((netns, local), counted, totals)| {
            let listeners: Vec<&Listener> = counted.listeners.iter().collect();
            let place = listeners.first().map_or_else(|| local.to_string(), |l| l.place());
            Listened { netns: *netns, place, listeners, sysctls: counted.sysctls, totals }
        })
        .collect();
    listened.sort_by_key(|l| std::cmp::Reverse(l.totals.overflows()));
    listened
}

fn seconds(from_ns: u64, to_ns: u64) -> f64 {
    std::time::Duration::from_nanos(to_ns.saturating_sub(from_ns)).as_secs_f64()
}

/// Whether healthy moments are needed to judge the others: without the kernel's own word for an
/// overflow, the tracepoint rung tells a third ACK's RST from others by the request before it.
pub fn needs_healthy(rung: Option<Rung>, drop_reasons: &[(u32, String)]) -> bool {
    rung == Some(Rung::Tracepoint)
        && !drop_reasons.iter().any(|(_, name)| name == "TCP_LISTEN_OVERFLOW")
}
