//! `overflow replay`: a recording through the same pipeline as live tracing, to any output.

use std::{
    io::{self, BufWriter, IsTerminal, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;
use clap::Args;

use super::{
    report::ReportArgs,
    trace::{self, Confining, View},
};
use overflow::{
    confine::Needs,
    pipeline::{Moment, Options, Window, report_losses},
    sink::page::Page,
};
use overflow_core::{
    listeners::Inventory,
    loss::Loss,
    recording::{Frame, Recording},
};

/// Show a recording of `overflow trace --record`.
///
/// Takes the same options as `trace` for what is shown; with the options used for recording, the
/// output is the same as then. Needs no privileges, and runs on any kernel. Names of network namespaces
/// are those of the recording machine, as the recording has them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  overflow replay run.rec
  overflow replay run.rec --report run.html
  overflow replay run.rec --output json -P 443
  overflow replay run.rec --all --output perfetto > run.json
  overflow replay run.rec --summary 1 --netns web
  overflow replay run.rec --since 18:02:21 --until 18:03
  ssh host cat run.rec | overflow replay -

Exit status: 0 done; 1 the recording cannot be read, or is cut off or damaged; 2 bad usage.")]
pub(super) struct ReplayArgs {
    /// The recording; - reads standard input
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    #[command(flatten)]
    view: View,
    /// Show and count only what happened from then on: a time of the day as lines have it (18:02:21), a
    /// time since the beginning (90s), or one with date and zone. Counts made in the kernel, as with
    /// --summary, are cut at full seconds
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    since: Option<Moment>,
    /// Stop there: a time as of --since
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    until: Option<Moment>,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    confining: Confining,
}

pub(super) fn run(args: &ReplayArgs) -> Result<ExitCode> {
    let file: Box<dyn Read> = if args.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(overflow_host::recordings::file(&args.file)?)
    };
    let page = args.report.create()?;
    // Everything from here on depends on bytes that anybody may have written.
    args.confining.confine(&Needs::default())?;
    let mut recording = Recording::read(&args.file, file)?;
    let (first, begun) = inventory(&mut recording);
    let filter = args.view.recorded_filter(&first)?;
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    let out = BufWriter::with_capacity(1 << 16, stdout.lock());
    let header = recording.header().clone();
    let mut sinks = vec![args.view.sink(out, terminal)];
    if let Some(page) = page {
        sinks.push(Box::new(Page::new(page)));
    }
    let window = Window { since: args.since, until: args.until };
    let options = Options { window, ..args.view.options(filter) };
    let mut engine = trace::engine(options, sinks, &header)?;
    let mut failure = None;
    let mut enough = false;
    if let Some(frame) = begun {
        enough |= engine.feed(frame)?.is_break();
    }
    let mut events = Vec::new();
    loop {
        while !enough && recording.next_events(&mut events) {
            engine.expect(&events);
            for event in &events {
                enough = engine.event(event)?.is_break();
                if enough {
                    break;
                }
            }
        }
        match recording.next_frame() {
            Ok(Some(Frame::Event(_) | Frame::Tick(_) | Frame::Look(_) | Frame::Evidence(_)))
                if enough => {}
            Ok(Some(frame)) => enough |= engine.feed(frame)?.is_break(),
            Ok(None) => break,
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    engine.lose(Loss::DamagedFrames, recording.damaged());
    engine.lose(Loss::CutOff, u64::from(failure.is_some()));
    engine.close()?;
    report_losses(&engine);
    if let Some(error) = failure {
        return Err(error.into());
    }
    Ok(ExitCode::from(u8::from(recording.damaged() > 0)))
}

/// The listeners as they were when the recording began, and the frame that has them, if that comes first
/// as it does. Its network namespaces have the names by which they can be asked for.
fn inventory<R: Read>(recording: &mut Recording<R>) -> (Inventory, Option<Frame>) {
    // What cannot be read is said when it is shown.
    match recording.next_frame() {
        Ok(Some(Frame::Inventory(inventory))) => {
            ((*inventory).clone(), Some(Frame::Inventory(inventory)))
        }
        Ok(frame) => (Inventory::default(), frame),
        Err(_) => (Inventory::default(), None),
    }
}
