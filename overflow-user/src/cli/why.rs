//! `overflow why`: who holds a listener whose queue is full, and why nobody accepts.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufWriter, IsTerminal, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use tokio::time::sleep;

use super::{OutputFormat, parsers, style, trace::Selection};
use overflow::{
    pipeline::{Filter, Stop},
    sink::why::{self, Detail},
};
use overflow_core::{
    cause::{CauseId, Change, Episode, Evidence, Judgement, judge},
    explain::Lang,
    listeners::{Inventory, Listener},
    text::{
        duration::{count, period},
        style::{Options, Page, Tone},
    },
};
use overflow_host::{
    Looker,
    causes::{self, LISTENERS},
    kernel,
    listeners::{Requests, SynQueues},
};

/// With --watch, how often queues are looked at; holders only of those that are full.
const EVERY: Duration = Duration::from_millis(200);
/// How often the holders of one that stays full are looked at again.
const AGAIN: Duration = Duration::from_secs(5);
/// How often network namespaces are looked for.
const ANEW: Duration = Duration::from_secs(5);

/// Say why a listener's queue is full: who holds it, and why nobody accepts.
///
/// For each listener whose accept queue or SYN queue is full now, every thread of every process that
/// could accept is looked at twice, a moment apart: what it does, where it sleeps, what limits it.
/// Nothing is traced and nothing is changed. Each cause is named with what shows it; `overflow explain
/// cause` lists them all.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  overflow why                    every listener that is full now
  overflow why -P 8080 -v         one port, and what was ruled out
  overflow why --watch            as listeners become full, until Ctrl-C
  overflow why --watch -d 1h --output json | jq '.causes[].id'

Exit status: 0 done; 1 it could not run; 2 bad usage.")]
pub(super) struct WhyArgs {
    #[command(flatten)]
    selection: Selection,
    /// Wait for listeners to become full, and say whether causes change, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Stop watching after this time
    #[arg(short, long, value_name = "TIME", value_parser = parsers::seconds, requires = "watch")]
    duration: Option<Duration>,
    /// Also show what was ruled out, and by what
    #[arg(short, long)]
    verbose: bool,
    /// Do not cut lines at 80 columns
    #[arg(short, long)]
    wide: bool,
    /// Output format: text, or JSON lines
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

pub(super) fn run(args: &WhyArgs) -> Result<ExitCode> {
    let filter = args.selection.resolve()?;
    let mut why = Why {
        looker: Looker::new(),
        wanted: filter.netns.iter().copied().collect(),
        requests: Requests::default(),
        filter,
        options: options(args),
        detail: Detail { ruled_out: args.verbose },
        output: args.output,
        full: BTreeMap::new(),
        closed: BTreeMap::new(),
        failed: 0,
    };
    if !args.watch {
        why.now()?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(why.watch(args.duration))?;
    Ok(ExitCode::SUCCESS)
}

fn options(args: &WhyArgs) -> Options {
    let mut options = style::options(io::stdout().is_terminal());
    if args.wide {
        options.width = usize::MAX;
    }
    options
}

struct Why {
    looker: Looker,
    filter: Filter,
    wanted: BTreeSet<u32>,
    requests: Requests,
    options: Options,
    detail: Detail,
    output: OutputFormat,
    /// Listeners that are full.
    full: BTreeMap<causes::Socket, Watched>,
    /// By the cause they began with: how often listeners were full, and for how long.
    closed: BTreeMap<Option<CauseId>, (usize, Duration)>,
    /// Looks that failed.
    failed: usize,
}

struct Watched {
    place: String,
    episode: Episode,
    since: Instant,
    looked: Option<Instant>,
}

impl Why {
    fn listeners(&mut self) -> Result<Inventory> {
        self.looker.listeners(&self.wanted, SynQueues::Counted).context("cannot list the listeners")
    }

    /// Those that are full now.
    fn now(&mut self) -> Result<()> {
        let inventory = self.listeners()?;
        for note in &inventory.notes {
            overflow::say!("overflow: {note}");
        }
        let meant = |l: &&Listener| self.filter.listener(l);
        let full = self.looker.full(&inventory).into_iter().filter(meant).count();
        let asked = self.looker.waiting(&inventory).into_iter().filter(meant);
        let sockets: Vec<_> = asked.map(|l| (l.netns, l.inode)).collect();
        if full > LISTENERS {
            overflow::say!("overflow: {full} are full; {LISTENERS} of them are looked at");
        }
        let found = self.looker.causes(&sockets).context("cannot look at who holds them")?;
        let mut shown = 0;
        for evidence in &found {
            let judgement = judge(evidence);
            let pressed = evidence.listener.at_limit() || evidence.syn_queue_full();
            if !pressed && judgement.causes.is_empty() {
                continue;
            }
            if shown > 0 && self.output == OutputFormat::Text {
                self.print(Page::blank)?;
            }
            shown += 1;
            self.show(evidence, &judgement, None)?;
        }
        if shown == 0 {
            let asked: Vec<&Listener> = inventory.listeners.iter().filter(meant).collect();
            self.none(&asked)?;
        }
        Ok(())
    }

    /// Nothing is full: what there is instead.
    fn none(&self, asked: &[&Listener]) -> Result<()> {
        if self.output == OutputFormat::Json {
            return Ok(());
        }
        let fullest = asked.iter().filter(|l| l.send_q.is_some());
        let fullest = fullest
            .max_by_key(|l| u64::from(l.recv_q) * 1000 / u64::from(l.send_q.unwrap_or(0)).max(1));
        let text = match (asked, fullest) {
            ([], _) => "No such TCP listener was found.".to_owned(),
            (_, Some(l)) if l.recv_q > 0 => format!(
                "No listener is full now; the fullest is {} with {}/{}. --watch waits for one.",
                l.place(),
                l.recv_q,
                l.send_q.unwrap_or(0)
            ),
            _ => format!(
                "No listener is full now: {}, all with an empty accept queue. --watch waits for one.",
                count(asked.len(), "listener")
            ),
        };
        self.print(|page| page.flow("", 0, Tone::Plain, &text))
    }

    /// As listeners become full.
    async fn watch(&mut self, duration: Option<Duration>) -> Result<()> {
        let stop = Stop::catch().context("cannot catch signals")?;
        let mut stop = std::pin::pin!(stop.asked());
        let mut time_is_up = std::pin::pin!(sleep(duration.unwrap_or(Duration::MAX)));
        let inventory = self.listeners()?;
        for note in &inventory.notes {
            overflow::say!("overflow: {note}");
        }
        let asked: Vec<&Listener> =
            inventory.listeners.iter().filter(|l| self.filter.listener(l)).collect();
        // Whoever waits on them now is whose work it is to accept.
        self.looker.acquaint(&asked);
        if self.output == OutputFormat::Text {
            let text = format!(
                "overflow why: kernel {}, {} watched, Ctrl-C ends it",
                kernel::release(),
                count(asked.len(), "listener")
            );
            self.print(|page| page.flow("", 0, Tone::Dim, &text))?;
        }
        let mut found_at = Instant::now();
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = &mut time_is_up => break,
                () = sleep(EVERY) => {}
            }
            let anew = found_at.elapsed() >= ANEW;
            if anew {
                found_at = Instant::now();
            }
            self.poll(anew)?;
        }
        self.end()
    }

    fn poll(&mut self, anew: bool) -> Result<()> {
        let (began, syn_queues) = (Instant::now(), self.requests.next());
        let queues = self.looker.queues(&self.wanted, anew, syn_queues);
        self.requests.took(syn_queues, began.elapsed());
        let Ok(mut queues) = queues else {
            self.failed += 1;
            return Ok(());
        };
        self.requests.fill_in(&mut queues);
        let now: BTreeMap<causes::Socket, Listener> = self
            .looker
            .full(&queues)
            .into_iter()
            .filter(|l| self.filter.listens(l))
            .map(|l| ((l.netns, l.inode), l.clone()))
            .collect();
        let over: Vec<causes::Socket> =
            self.full.keys().filter(|socket| !now.contains_key(socket)).copied().collect();
        for socket in over {
            self.empties(socket)?;
        }
        for (socket, listener) in &now {
            self.full.entry(*socket).or_insert_with(|| Watched {
                place: listener.place(),
                episode: Episode::new(0),
                since: Instant::now(),
                looked: None,
            });
        }
        let due = |watched: &Watched| watched.looked.is_none_or(|at| at.elapsed() >= AGAIN);
        let sockets: Vec<causes::Socket> =
            self.full.iter().filter(|(_, w)| due(w)).map(|(s, _)| *s).take(LISTENERS).collect();
        if sockets.is_empty() {
            return Ok(());
        }
        for socket in &sockets {
            if let Some(watched) = self.full.get_mut(socket) {
                watched.looked = Some(Instant::now());
            }
        }
        let Ok(found) = self.looker.causes(&sockets) else {
            self.failed += 1;
            return Ok(());
        };
        for evidence in &found {
            self.judged(evidence)?;
        }
        Ok(())
    }

    fn judged(&mut self, evidence: &Evidence) -> Result<()> {
        let socket = (evidence.listener.netns, evidence.listener.inode);
        if !self.filter.listener(&evidence.listener) {
            self.full.remove(&socket);
            return Ok(());
        }
        let Some(watched) = self.full.get_mut(&socket) else { return Ok(()) };
        let judgement = judge(evidence);
        let change = watched.episode.look(&judgement);
        match &change {
            Change::Same => Ok(()),
            Change::Began => self.show(evidence, &judgement, Some(&change)),
            Change::Changed(before) => {
                if self.output == OutputFormat::Text {
                    let before: Vec<_> = before.iter().map(|id| id.short(Lang::En)).collect();
                    let text = format!("{}: no longer {}", watched.place, before.join(", "));
                    self.print(|page| page.flow("", 0, Tone::Dim, &text))?;
                }
                self.show(evidence, &judgement, Some(&change))
            }
        }
    }

    /// One is not full any more.
    fn empties(&mut self, socket: causes::Socket) -> Result<()> {
        let Some(watched) = self.full.remove(&socket) else { return Ok(()) };
        let lasted = watched.since.elapsed();
        let sum = self.closed.entry(watched.episode.cause()).or_default();
        *sum = (sum.0 + 1, sum.1 + lasted);
        if self.output == OutputFormat::Json {
            return Ok(());
        }
        let lasted = period(u64::try_from(lasted.as_nanos()).unwrap_or(u64::MAX));
        let text = format!("{}: has room again after {lasted}", watched.place);
        self.print(|page| page.flow("", 0, Tone::Good, &text))
    }

    /// The summary.
    fn end(&mut self) -> Result<()> {
        let still: Vec<_> = self.full.keys().copied().collect();
        let (output, now) = (self.output, still.len());
        self.output = OutputFormat::Json;
        for socket in still {
            self.empties(socket)?;
        }
        self.output = output;
        if self.failed > 0 {
            overflow::say!("overflow: {} failed", count(self.failed, "look"));
        }
        if output == OutputFormat::Json {
            return Ok(());
        }
        let closed = &self.closed;
        self.print(|page| {
            if closed.is_empty() {
                page.line("No listener was full.");
            }
            for (cause, (times, lasted)) in closed {
                let cause = cause.map_or("no cause found", |id| id.short(Lang::En));
                let lasted = period(u64::try_from(lasted.as_nanos()).unwrap_or(u64::MAX));
                page.line(&format!("full {}, {lasted} in all: {cause}", count(*times, "time")));
            }
            if now > 0 {
                page.line(&format!("full at the end: {now}"));
            }
        })
    }

    fn show(
        &self,
        evidence: &Evidence,
        judgement: &Judgement,
        change: Option<&Change>,
    ) -> Result<()> {
        match self.output {
            OutputFormat::Json => {
                let mut out = BufWriter::new(io::stdout().lock());
                why::json(&mut out, evidence, judgement, change)?;
                out.flush()?;
                Ok(())
            }
            OutputFormat::Text => {
                self.print(|page| why::text(page, "", evidence, judgement, self.detail))
            }
        }
    }

    fn print(&self, fill: impl FnOnce(&mut Page)) -> Result<()> {
        let mut page = Page::new(self.options);
        fill(&mut page);
        let mut out = BufWriter::new(io::stdout().lock());
        page.write_to(&mut out)?;
        out.flush()?;
        Ok(())
    }
}
