//! Live tracing: the ring, the clock and the listeners of this host, turned into frames.

mod audit;
mod causes;

use std::{
    collections::{BTreeSet, VecDeque},
    fs::File,
    io,
    ops::ControlFlow,
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use overflow_common::{Path, RawEvent};
use tokio::time::{MissedTickBehavior, interval_at, sleep};

use super::{
    command::Traced,
    engine::Engine,
    looks::{Beginning, Due},
};
use crate::{
    confine::{Attribution, Needs, confine},
    export::Export,
    pages,
    probe::{RecordReader, Tracer},
};
use overflow_core::{
    listeners::{Inventory, Listener},
    loss::Loss,
    recording::{Frame, Recorder},
};
use overflow_host::clock::monotonic_ns;

/// Looking for listeners may take one part in so many of the time, and at first this much more.
const SHARE: u32 = 10;
const AHEAD: Duration = Duration::from_millis(500);
/// Network namespaces that are looked for among threads too; more are not at a time.
const WANTED: usize = 1024;
/// Listeners that are looked for in vain between two regular looks; more wait for the next one.
const STRANGERS: usize = 1 << 16;
/// While anything happens, how often all listeners are read again: one can be closed
/// and another opened at its address.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// While only some owners' listeners are asked for, how often all are read again.
const OWNERS_EVERY: Duration = Duration::from_secs(2);
/// One of these is set where a client may try again: the programs then look at third ACKs that are
/// taken, too.
const LEFT_ALONE: u32 =
    Path::SYN_RECV_SOCK_NULL | Path::COOKIE_INIT | Path::TP_KFREE_SKB | Path::TP_SYNACK_COOKIE;
/// No request outlives its last SYN-ACK by more: TCP_RTO_MAX is 120 s. Nor does a cookie: it is good
/// for two minutes.
const RETRY_FOR: Duration = Duration::from_secs(130);
/// Records of the last segments may still be on their way when a command ends.
const SETTLE: Duration = Duration::from_millis(100);
/// Records that wait while listeners are looked for; more are lost, and counted.
const WAITING: usize = 1 << 18;
/// Records that are made ready for at once.
const AHEAD_OF_TAKING: usize = 32;
const NOT_RECORDED: &str = "cannot write the recording";

/// What ends a live trace, besides a signal.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// This time has passed.
    pub after: Option<Duration>,
    /// This command of a shell, started with the trace, has ended.
    pub with: Option<String>,
}

/// A live trace.
pub struct Live {
    tracer: Tracer,
    ring: RecordReader,
    engine: Engine,
    recorder: Option<Recorder<File>>,
    attribution: Attribution,
    export: Option<Export>,
    /// Whether to be confined, and if so, whether listening sockets are to be answered.
    confined: Option<bool>,
    /// Records that came and are not yet with the engine.
    pending: VecDeque<RawEvent>,
    /// The attribution that the engine has.
    known: Vec<Listener>,
    renewed: Instant,
    /// When this began, and how long looking for listeners took since then.
    since: Instant,
    spent: Duration,
    /// (network namespace, socket or 0, port) that were looked for in vain since the last regular look.
    strangers: BTreeSet<(u32, u32, u16)>,
    eventful: bool,
    overrun: u64,
    /// How often looking for listeners failed.
    unanswered: u64,
    losses: Vec<(Loss, u64)>,
    wanted: BTreeSet<u32>,
    /// Look at the listeners this often, whether anything happens or not.
    look_every: Option<Duration>,
    /// The counters as they were before this began.
    beginning: Beginning,
    /// When counters are read next.
    look_due: Due,
    /// When a third ACK was last dropped while its request stayed.
    retry_pending: Option<Instant>,
    /// When the holders of full listeners are looked at, if they are.
    whys: Option<causes::Looks>,
}

impl Live {
    /// Puts the parts together.
    pub fn new(
        mut tracer: Tracer,
        mut engine: Engine,
        recorder: Option<Recorder<File>>,
        attribution: Attribution,
    ) -> Result<Self> {
        let ring = tracer.records()?;
        engine.port_is_tested();
        // The eBPF side leaves out known listeners of other owners: these may change.
        let look_every = engine.filter().by_owner().then_some(OWNERS_EVERY);
        Ok(Self {
            tracer,
            ring,
            engine,
            recorder,
            attribution,
            export: None,
            confined: None,
            pending: VecDeque::new(),
            known: Vec::new(),
            renewed: Instant::now(),
            since: Instant::now(),
            spent: Duration::ZERO,
            strangers: BTreeSet::new(),
            eventful: false,
            overrun: 0,
            unanswered: 0,
            losses: Vec::new(),
            wanted: BTreeSet::new(),
            look_every,
            beginning: Beginning::default(),
            look_due: Due::new(),
            retry_pending: None,
            whys: None,
        })
    }

    /// Confines this process, which must have no other threads, before the first record is read;
    /// `network`: listening TCP sockets that it has go on being answered.
    #[must_use]
    pub fn confined(self, network: bool) -> Self {
        Self { confined: Some(network), ..self }
    }

    /// Counts what this does not deliver, and has it deliver all before the summary is printed.
    #[must_use]
    pub fn exporting(self, export: Option<Export>) -> Self {
        Self { export, ..self }
    }

    /// Looks at who holds listeners that are full, and why nobody accepts.
    #[must_use]
    pub fn asking_why(self, why: bool) -> Self {
        Self { whys: why.then(causes::Looks::new), ..self }
    }

    /// Audits from these counters on.
    #[must_use]
    pub fn audited(self, beginning: Beginning) -> Self {
        Self { beginning, ..self }
    }

    /// Keeps the queues of all listeners current too, as far as looking at them may take its part
    /// of the time. Such looks are not recorded.
    #[must_use]
    pub fn looking_every(self, look_every: Duration) -> Self {
        let look_every = self.look_every.map_or(look_every, |every| every.min(look_every));
        Self { look_every: Some(look_every), ..self }
    }

    /// Traces until `stop`, or what `ends` says, or the most events, then prints the summary.
    pub async fn run(
        mut self,
        ends: Ends,
        stop: impl Future<Output = ()>,
        known: Inventory,
    ) -> Result<()> {
        self.learn(known)?;
        let mut command = ends.with.as_deref().map(Traced::start).transpose()?;
        pages::give_back();
        if let Some(network) = self.confined {
            let maps: &(dyn Fn() -> bool + Sync) = &|| self.tracer.readable();
            let ends = command.as_ref().and_then(Traced::pid);
            confine(&Needs { maps: Some(maps), ends, network, terminal: false })?;
        }
        if let Some(export) = &mut self.export {
            export.begin();
        }
        let mut stop = pin!(stop);
        let mut tick =
            interval_at((Instant::now() + Duration::from_secs(1)).into(), Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut time_is_up = pin!(sleep(ends.after.unwrap_or(Duration::MAX)));
        self.aggregate()?;
        for look in std::mem::take(&mut self.beginning).looks(self.tracer.watched()) {
            self.note(Frame::Look(Box::new(look)))?;
        }
        self.note(Frame::Tick(monotonic_ns()))?;
        if self.whys.is_some() && self.look_at_holders().await?.is_break() {
            return self.finish(command).await;
        }
        self.engine.flush()?;
        loop {
            let ended = async {
                match &mut command {
                    Some(command) => command.ended().await,
                    None => std::future::pending().await,
                }
            };
            let pending = &mut self.pending;
            tokio::select! {
                waited = self.ring.wait(|e| pending.push_back(e)) => {
                    waited.context("cannot read the ring")?;
                }
                _ = tick.tick() => {
                    if self.second().await?.is_break() {
                        return self.finish(command).await;
                    }
                }
                () = &mut stop => break,
                () = &mut time_is_up => break,
                _ = ended => {
                    sleep(SETTLE).await;
                    break;
                }
            }
            if self.events().await?.is_break() {
                // What happens from here on is not told, so the last look stays what it was.
                return self.finish(command).await;
            }
            if self.why().await?.is_break() {
                return self.finish(command).await;
            }
            self.engine.flush()?;
        }
        let _ = self.caught_up().await?;
        let inventory = self.attribution.inventory(&self.wanted).await;
        self.found(inventory)?;
        let _ = self.last_look().await?;
        self.finish(command).await
    }

    async fn finish(mut self, command: Option<Traced>) -> Result<()> {
        self.count_losses()?;
        self.aggregate()?;
        self.note(Frame::End(monotonic_ns()))?;
        if let Some(export) = &mut self.export {
            self.engine.end()?;
            self.engine.flush()?;
            export.finish().await;
            self.count_losses()?;
        }
        self.engine.close()?;
        if let Some(command) = command {
            eprintln!("overflow: {}", command.report().await);
        }
        report_losses(&self.engine);
        Ok(())
    }

    /// Hands the pending records to the engine; breaks when it wants no more.
    async fn events(&mut self) -> Result<ControlFlow<()>> {
        let mut taken = 0;
        while let Some(event) = self.pending.front().copied() {
            if taken % AHEAD_OF_TAKING == 0 {
                let next = self.pending.as_slices().0;
                self.engine.expect(&next[..next.len().min(AHEAD_OF_TAKING)]);
            }
            taken += 1;
            self.eventful = true;
            self.look_due.event();
            if event.path & LEFT_ALONE != 0 {
                self.retry_pending = Some(Instant::now());
            }
            if self.engine.is_stranger(&event) {
                if self.wanted.len() < WANTED {
                    self.wanted.insert(event.netns);
                }
                let stranger = (event.netns, event.ino, event.server_port);
                if self.may_look()
                    && self.strangers.len() < STRANGERS
                    && self.strangers.insert(stranger)
                {
                    self.renew().await?;
                }
            }
            self.pending.pop_front();
            if let Some(recorder) = &mut self.recorder {
                recorder.write(&Frame::Event(event)).context(NOT_RECORDED)?;
            }
            if self.engine.event(&event)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn may_look(&self) -> bool {
        self.spent <= self.since.elapsed() / SHARE + AHEAD
    }

    /// Looks at the host's listeners again; meanwhile the ring is emptied.
    async fn renew(&mut self) -> Result<()> {
        let began = Instant::now();
        let inventory = {
            let (pending, overrun) = (&mut self.pending, &mut self.overrun);
            let mut keep = |event| {
                if pending.len() < WAITING { pending.push_back(event) } else { *overrun += 1 }
            };
            let mut looking = pin!(self.attribution.inventory(&self.wanted));
            loop {
                tokio::select! {
                    found = &mut looking => break found,
                    waited = self.ring.wait(&mut keep) => waited.context("cannot read the ring")?,
                }
            }
        };
        self.renewed = Instant::now();
        self.spent += began.elapsed();
        self.found(inventory)
    }

    fn found(&mut self, inventory: io::Result<Inventory>) -> Result<()> {
        match inventory {
            Ok(inventory) => self.learn(inventory),
            // What was known stays known.
            Err(error) => {
                log::warn!("cannot list the listeners: {error}");
                self.unanswered += 1;
                Ok(())
            }
        }
    }

    /// Hands the engine new listeners, unless nothing but their queues has changed.
    fn learn(&mut self, inventory: Inventory) -> Result<()> {
        // One that nobody finds is gone, or is no one's any more.
        self.wanted.retain(|netns| inventory.namespaces.contains_key(netns));
        if self.engine.filter().by_owner() {
            self.tracer.set_excluded(&self.engine.filter().excluded(&inventory.listeners))?;
        }
        let identity = |l: &Listener| Listener { recv_q: 0, syn_recv: 0, drops: None, ..l.clone() };
        let identities: Vec<Listener> = inventory.listeners.iter().map(identity).collect();
        if identities != self.known || self.engine.contradicts(&inventory) {
            self.known = identities;
            self.note(Frame::Inventory(Box::new(inventory)))?;
        } else if self.look_every.is_some() {
            let _ = self.engine.feed(Frame::Inventory(Box::new(inventory)))?;
        }
        Ok(())
    }

    async fn second(&mut self) -> Result<ControlFlow<()>> {
        let due = match self.look_every {
            Some(every) => self.renewed.elapsed() >= every,
            // A queue that is full can get shorter unseen.
            None => {
                (self.eventful || self.engine.any_full()) && self.renewed.elapsed() >= RENEW_EVERY
            }
        };
        if due && self.may_look() {
            self.eventful = false;
            self.strangers.clear();
            self.renew().await?;
        }
        if self.retry_pending.is_some_and(|at| at.elapsed() > RETRY_FOR) {
            self.retry_pending = None;
            self.tracer.clear_retry_pending()?;
        }
        let flow = if self.look_due.is_now(self.look_every.is_some()) {
            self.look().await?
        } else {
            self.count_losses()?;
            self.aggregate()?;
            ControlFlow::Continue(())
        };
        self.note(Frame::Tick(monotonic_ns()))?;
        Ok(flow)
    }

    fn aggregate(&mut self) -> Result<()> {
        match self.tracer.aggregates()? {
            Some(found) => self.note(Frame::Aggregates(monotonic_ns(), Box::new(found))),
            None => Ok(()),
        }
    }

    fn count_losses(&mut self) -> Result<()> {
        let own = [
            (Loss::OtherBuild, self.ring.malformed()),
            (Loss::NoRoomMeanwhile, self.overrun),
            (Loss::StaleOwners, self.unanswered),
        ];
        let kernel = self.tracer.losses().by_cause.into_iter();
        let losses: Vec<_> = kernel.chain(own).filter(|(_, n)| *n > 0).collect();
        if losses != self.losses {
            self.losses.clone_from(&losses);
            self.note(Frame::Losses(losses))?;
        }
        if let Some(export) = &self.export {
            // Nothing is missing from the trace, nor from a recording of it.
            let undelivered = export.losses().into_iter().filter(|(_, n)| *n > 0);
            let losses = self.losses.iter().cloned().chain(undelivered).collect();
            let _ = self.engine.feed(Frame::Losses(losses))?;
        }
        Ok(())
    }

    /// Records and takes a frame after which the engine always wants more.
    fn note(&mut self, frame: Frame) -> Result<()> {
        if let Some(recorder) = &mut self.recorder {
            recorder.write(&frame).context(NOT_RECORDED)?;
        }
        let _ = self.engine.feed(frame)?;
        Ok(())
    }
}

/// On stderr what was lost and what that means, if anything was, and one line if anything is unaccounted.
pub fn report_losses(engine: &Engine) {
    let losses = engine.losses();
    if !losses.is_empty() {
        let causes: Vec<_> = losses.iter().map(|(what, n)| format!("{n} {what}")).collect();
        eprintln!("overflow: lost {}", causes.join(", "));
        for (what, _) in &losses {
            eprintln!("overflow: {what}: {}", what.meaning());
        }
    }
    if let Some(alarm) = engine.audits().and_then(crate::sink::alarm) {
        eprintln!("overflow: {alarm}");
    }
}
