//! Live tracing: the ring, the clock and the listeners of this host, turned into frames.

mod audit;
mod causes;
mod listeners;
mod losses;
mod openers;
mod trouble;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    mem,
    ops::ControlFlow,
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use overflow_common::{Path, RawEvent, Socket};
use tokio::time::{MissedTickBehavior, interval_at, sleep};

use super::{
    command::Traced,
    engine::Engine,
    looks::{Beginning, Due},
    recording::LiveRecording,
};
pub use losses::report_losses;

use crate::{
    confine::{Attribution, Needs, confine},
    export::Export,
    pages,
    probe::{RecordReader, Tracer},
};
use overflow_core::{
    listeners::{Inventory, Listener, Sysctls},
    loss::Loss,
    recording::Frame,
};
use overflow_host::{
    clock::monotonic_ns,
    listeners::{Requests, SynQueues},
};

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
const LEFT_ALONE: u32 = Path::SYN_RECV_SOCK_NULL
    | Path::COOKIE_INIT
    | Path::TP_KFREE_SKB
    | Path::TP_SYNACK_COOKIE
    | Path::COUNTED_DROP
    | Path::UNCOUNTED;
/// No client sends its SYN again later than 64 s after the one before (tcp_syn_retries=6). No request outlives its last SYN-ACK by more: TCP_RTO_MAX is 120 s. Nor does a cookie: it is good
/// for two minutes.
const RETRY_FOR: Duration = Duration::from_secs(130);
/// Records of the last segments may still be on their way when a command ends.
const SETTLE: Duration = Duration::from_millis(100);
/// What happens meanwhile is shown when the process that looks has answered, or not for so long.
const ANSWER: Duration = Duration::from_secs(5);
/// When tracing ends, all that is still asked of the process that looks may take so long.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
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
    recording: Option<LiveRecording>,
    attribution: Attribution,
    export: Option<Export>,
    /// Whether to be confined, and if so, whether listening sockets are to be answered.
    confined: Option<bool>,
    /// Records that came and are not yet with the engine.
    pending: VecDeque<RawEvent>,
    /// The attribution and the settings that the engine has.
    known: Vec<Listener>,
    settings: BTreeMap<u32, Sysctls>,
    renewed: Instant,
    /// When this began, and how long looking for listeners took since then.
    since: Instant,
    spent: Duration,
    /// (network namespace, socket or 0, port) that were looked for in vain since the last regular look.
    strangers: BTreeSet<(u32, u32, u16)>,
    /// (network namespace, socket) of which it was asked who called `listen()`.
    opener_asked: HashSet<(u32, u32)>,
    eventful: bool,
    overrun: u64,
    /// How often looking for listeners failed, and whether it did the last time.
    unanswered: u64,
    troubled: bool,
    /// Whether the terminal shows a view, which messages would spoil.
    drawn: bool,
    losses: Vec<(Loss, u64)>,
    wanted: BTreeSet<u32>,
    /// Look at the listeners this often, whether anything happens or not.
    look_every: Option<Duration>,
    /// The lengths of SYN queues; `None` where nobody shows them.
    requests: Option<Requests>,
    /// The counters as they were before this began.
    beginning: Beginning,
    /// When counters are read next.
    look_due: Due,
    /// When a client was last refused that may try again.
    retry_pending: Option<Instant>,
    /// When the holders of full listeners are looked at, if they are.
    whys: Option<causes::Looks>,
}

impl Live {
    /// Puts the parts together.
    pub fn new(
        mut tracer: Tracer,
        mut engine: Engine,
        recording: Option<LiveRecording>,
        mut attribution: Attribution,
    ) -> Result<Self> {
        let ring = tracer.records()?;
        attribution.wait_at_most(ANSWER);
        engine.port_is_tested();
        // The eBPF side leaves out known listeners of other owners: these may change.
        let look_every = engine.filter().by_owner().then_some(OWNERS_EVERY);
        // There may be nothing but threads in one that is asked for.
        let wanted = engine.filter().netns.iter().copied().take(WANTED).collect();
        Ok(Self {
            tracer,
            ring,
            engine,
            recording,
            attribution,
            export: None,
            confined: None,
            pending: VecDeque::new(),
            known: Vec::new(),
            settings: BTreeMap::new(),
            renewed: Instant::now(),
            since: Instant::now(),
            spent: Duration::ZERO,
            strangers: BTreeSet::new(),
            opener_asked: HashSet::new(),
            eventful: false,
            overrun: 0,
            unanswered: 0,
            troubled: false,
            drawn: false,
            losses: Vec::new(),
            wanted,
            look_every,
            requests: None,
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

    /// For a view on the terminal: what goes wrong meanwhile is only logged, and counted.
    #[must_use]
    pub fn drawn(self) -> Self {
        Self { drawn: true, ..self }
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
        Self { look_every: Some(look_every), requests: Some(Requests::default()), ..self }
    }

    /// Traces until `stop`, or what `ends` says, or the most events, then prints the summary.
    pub async fn run(
        mut self,
        ends: Ends,
        stop: impl Future<Output = ()>,
        known: Inventory,
    ) -> Result<()> {
        let ended = self.trace(ends, stop, known).await;
        if let (Err(_), Some(recording)) = (&ended, &self.recording) {
            // Whoever looked is gone, or the terminal; what is recorded is whole all the same.
            let _ = recording.write(&Frame::End(monotonic_ns()));
        }
        ended
    }

    async fn trace(
        &mut self,
        ends: Ends,
        stop: impl Future<Output = ()>,
        known: Inventory,
    ) -> Result<()> {
        self.learn(known)?;
        let mut command = ends.with.as_deref().map(Traced::start).transpose()?;
        pages::give_back();
        if let Some(network) = self.confined {
            let tracer = &self.tracer;
            let maps: &(dyn Fn() -> bool + Sync) = &|| tracer.readable();
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
        self.aggregate().await?;
        for look in mem::take(&mut self.beginning).looks(self.tracer.watched()) {
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
            let ticked = tokio::select! {
                waited = self.ring.wait(|e| pending.push_back(e)) => {
                    waited.context("cannot read the ring")?;
                    false
                }
                _ = tick.tick() => true,
                () = &mut stop => break,
                () = &mut time_is_up => break,
                _ = ended => {
                    sleep(SETTLE).await;
                    break;
                }
            };
            // Nothing is lost by a step that is left where it waits for the process that looks: what it
            // waits for is noted as done afterwards, and what it has read goes when it is taken.
            let flow = tokio::select! {
                flow = self.step(ticked) => flow?,
                () = &mut stop => break,
                () = &mut time_is_up => break,
            };
            if flow.is_break() {
                // What happens from here on is not told, so the last look stays what it was.
                return self.finish(command).await;
            }
        }
        self.attribution.answer_by(Instant::now() + LAST_ANSWERS);
        let _ = self.caught_up().await?;
        let inventory = self.attribution.inventory(&self.wanted, SynQueues::Left).await;
        // The summary says what is, though nothing but queues and settings may have changed.
        self.settings.clear();
        self.found(inventory)?;
        let _ = self.last_look().await?;
        self.finish(command).await
    }

    /// What there is to do now.
    async fn step(&mut self, ticked: bool) -> Result<ControlFlow<()>> {
        if ticked && self.second().await?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if self.events().await?.is_break() || self.why().await?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        self.engine.flush()?;
        Ok(ControlFlow::Continue(()))
    }

    async fn finish(&mut self, command: Option<Traced>) -> Result<()> {
        self.count_losses()?;
        self.aggregate().await?;
        self.note(Frame::End(monotonic_ns()))?;
        if let Some(export) = &mut self.export {
            self.engine.end()?;
            self.engine.flush()?;
            export.finish().await;
            self.count_losses()?;
        }
        self.engine.close()?;
        if let Some(text) = self.recording.as_ref().and_then(LiveRecording::in_words) {
            crate::say!("overflow: {text}");
        }
        if let Some(command) = command {
            let report = command.report().await;
            report_losses(&self.engine);
            crate::say!("overflow: {}", report?);
            return Ok(());
        }
        report_losses(&self.engine);
        Ok(())
    }

    /// Hands the pending records to the engine; breaks when it wants no more.
    async fn events(&mut self) -> Result<ControlFlow<()>> {
        let mut taken = 0;
        let mut left_alone = false;
        while let Some(event) = self.pending.front().copied() {
            if taken % AHEAD_OF_TAKING == 0 {
                let next = self.pending.as_slices().0;
                self.engine.expect(&next[..next.len().min(AHEAD_OF_TAKING)]);
            }
            taken += 1;
            self.eventful = true;
            self.look_due.event();
            if event.path & LEFT_ALONE != 0 {
                // The clock is read once for all that came together.
                if !mem::replace(&mut left_alone, true) {
                    self.retry_pending = Some(Instant::now());
                }
            }
            let mut lacks = self.engine.lacks(&event);
            if lacks.listener {
                if self.wanted.len() < WANTED {
                    self.wanted.insert(event.netns);
                }
                let stranger = (event.netns, event.ino, event.server_port);
                if self.may_look()
                    && self.strangers.len() < STRANGERS
                    && !self.strangers.contains(&stranger)
                {
                    self.renew().await?;
                    self.strangers.insert(stranger);
                    lacks = self.engine.lacks(&event);
                }
            }
            if let Some(socket) = lacks.owner {
                self.learn_openers([(socket, event.server_port)]).await?;
            }
            self.pending.pop_front();
            if let Some(recording) = &self.recording {
                recording.write(&Frame::Event(event)).context(NOT_RECORDED)?;
            }
            let abnormal = self.engine.abnormal();
            let flow = self.engine.event(&event)?;
            if self.engine.abnormal() > abnormal
                && let Some(recording) = &self.recording
            {
                recording.alarm().context(NOT_RECORDED)?;
            }
            if flow.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
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
            self.aggregate().await?;
            ControlFlow::Continue(())
        };
        self.note(Frame::Tick(monotonic_ns()))?;
        if let Some(recording) = &self.recording {
            recording.sync().context(NOT_RECORDED)?;
        }
        Ok(flow)
    }

    async fn aggregate(&mut self) -> Result<()> {
        let Some(found) = self.tracer.aggregates()? else { return Ok(()) };
        let of = |socket: &Socket| (socket.netns, socket.ino);
        let sockets = found.queues.iter().map(|(socket, tally)| (of(socket), tally.port));
        let unowned = sockets.filter(|((netns, ino), _)| self.engine.is_unowned(*netns, *ino));
        let unowned: Vec<_> = unowned.collect();
        self.learn_openers(unowned).await?;
        // From here on nothing is waited for: what goes is taken.
        self.tracer.retire(&found)?;
        self.note(Frame::Aggregates(monotonic_ns(), Box::new(found)))
    }

    /// Records and takes a frame after which the engine always wants more.
    fn note(&mut self, frame: Frame) -> Result<()> {
        if let Some(recording) = &self.recording {
            recording.write(&frame).context(NOT_RECORDED)?;
        }
        let _ = self.engine.feed(frame)?;
        Ok(())
    }
}
