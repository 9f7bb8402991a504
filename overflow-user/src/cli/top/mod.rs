//! `overflow top`: a live terminal view per listener.

mod keys;
mod screen;
mod ui;

use std::{
    env,
    io::{self, BufWriter, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use super::{
    parsers, style,
    trace::{self, Attached, Hooks, Selection},
};
use overflow::{
    confine::Needs,
    pipeline::{Ends, Live, Options},
    sink::{
        offer::{Hurt, offer},
        top::{Shared, Top, TopSink},
        trace::Sink,
    },
};
use ui::Ui;

/// How often the queues of all listeners are looked at, quiet ones too.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Watch every TCP listener on this host in the terminal: queues, overflows, their owners.
///
/// One line per listener with its accept queue over time, and the last handshakes that failed. It
/// traces what `overflow trace` traces and prints the same summary at the end. Press ? for the keys
/// and the columns.
#[derive(Debug, Args)]
#[command(after_help = "\
Keys:
  q Ctrl-C  quit               j k arrows  select a listener
  < > s     column to sort by  Enter       its limits, owners, verdicts
  r         turn around        a           hide idle listeners
  p         hold still         ?           help

Examples:
  overflow top                    every listener of every network namespace
  overflow top -P 80,443          two ports
  overflow top --why              and why queues were full
  overflow top --cgroup nginx     a systemd unit, control group or container

Exit status: 0 done; 1 it could not run; 2 bad usage.")]
pub(super) struct TopArgs {
    #[command(flatten)]
    selection: Selection,
    /// Stop after this time
    #[arg(short, long, value_name = "TIME", value_parser = parsers::seconds)]
    duration: Option<Duration>,
    /// Also look at who holds a listener when it becomes full; Enter shows why
    #[arg(long)]
    why: bool,
    #[command(flatten)]
    hooks: Hooks,
}

/// Watches until it is asked to stop.
pub(super) fn run(args: &TopArgs) -> Result<ExitCode> {
    let dumb = env::var_os("TERM").is_some_and(|t| t == "dumb");
    let lacking = match (io::stdout().is_terminal(), io::stdin().is_terminal()) {
        (false, _) => Some("stdout is none"),
        (_, false) => Some("stdin is none"),
        _ => dumb.then_some("TERM is `dumb`"),
    };
    if let Some(lacking) = lacking {
        bail!(
            "`overflow top` needs a terminal to draw on and to read keys from, and {lacking}; use \
             `overflow trace --summary 1` for aggregates line by line"
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(top(args))?;
    Ok(ExitCode::SUCCESS)
}

async fn top(args: &TopArgs) -> Result<()> {
    let mut signals = Signals::catch().context("cannot catch signals")?;
    let filter = args.selection.resolve_here()?;
    let attached = trace::begin(&filter, &args.hooks, trace::Detail::Counted).await?;
    let Attached { tracer, attribution, inventory, header, beginning } = attached;
    let text = style::options(true);
    // A kernel whose rules are not known is traced all the same.
    let view =
        Top::new(filter.clone(), overflow_host::kernel::model_kernel().ok(), &inventory, text);
    let view = Shared::new(view);
    let maps: &(dyn Fn() -> bool + Sync) = &|| tracer.readable();
    let needs = Needs { maps: Some(maps), terminal: true, ..Needs::default() };
    args.hooks.confining.confine(&needs)?;
    let (quit, asked) = oneshot::channel();
    let ui = Ui::start(view.clone(), quit)?;
    let leave = ui.clone();
    let out = BufWriter::new(io::stdout());
    let sink = TopSink::new(view, out, text, move || leave.stop());
    let options = Options { filter, why: args.why, ..Options::default() };
    let hurt = Hurt::default();
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(sink), Box::new(hurt.clone())];
    let engine = trace::engine(options, sinks, &header)?;
    let live = Live::new(tracer, engine, None, attribution)?
        .looking_every(LOOK_EVERY)
        .audited(beginning)
        .drawn()
        .asking_why(args.why);
    let ends = Ends { after: args.duration, with: None };
    let stop = async {
        tokio::select! {
            () = signals.asked(&ui) => {}
            // Also when the thread that draws is gone.
            _ = asked => {}
        }
    };
    let traced = live.run(ends, stop, inventory).await;
    ui.stop();
    // What kept the view from being drawn comes first: tracing only ended because of it.
    ui.failure().map_or(Ok(()), Err)?;
    if traced.is_ok() && hurt.any() {
        overflow::say!("overflow: {}", offer(None));
    }
    traced
}

/// The signals that end the view, suspend it, and bring it back.
struct Signals {
    ends: [Signal; 4],
    suspend: Signal,
    back: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        Ok(Self {
            ends: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
                signal(SignalKind::quit())?,
            ],
            suspend: signal(SignalKind::from_raw(libc::SIGTSTP))?,
            back: signal(SignalKind::from_raw(libc::SIGCONT))?,
        })
    }

    /// Returns when one comes that ends the view.
    async fn asked(&mut self, ui: &Ui) {
        let [interrupt, terminate, hangup, quit] = &mut self.ends;
        loop {
            tokio::select! {
                _ = interrupt.recv() => return,
                _ = terminate.recv() => return,
                _ = hangup.recv() => return,
                _ = quit.recv() => return,
                _ = self.suspend.recv() => ui.suspend(),
                _ = self.back.recv() => ui.resume(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: TopArgs,
    }

    #[test]
    fn the_definition_is_sound() {
        Command::command().debug_assert();
        let args = Command::try_parse_from(["top", "-P", "80", "-d", "2s", "--rung", "kprobe"]);
        assert_eq!(args.unwrap().args.duration, Some(Duration::from_secs(2)));
    }
}
