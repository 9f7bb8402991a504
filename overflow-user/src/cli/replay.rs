//! `overflow replay`: a recording through the same pipeline as live tracing, to any output.

use std::{
    io::{self, BufWriter, IsTerminal},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Result;
use clap::Args;

use super::trace::{self, Confining, View};
use overflow::{confine::Needs, pipeline::report_losses};
use overflow_core::{
    loss::Loss,
    recording::{Frame, Recording},
};

/// Show a recording of `overflow trace --record`.
///
/// Takes the same options as `trace` for what is shown; with the options used for recording, the
/// output is the same as then. Needs no privileges, and runs on any kernel.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  overflow replay run.rec
  overflow replay run.rec --output json -P 443
  overflow replay run.rec --summary 1

Exit status: 0 done; 1 the recording cannot be read, or is cut off or damaged; 2 bad usage.")]
pub(super) struct ReplayArgs {
    /// The recording
    file: PathBuf,
    #[command(flatten)]
    view: View,
    #[command(flatten)]
    confining: Confining,
}

pub(super) fn run(args: &ReplayArgs) -> Result<ExitCode> {
    let filter = args.view.filter()?;
    let file = overflow_host::recordings::file(&args.file)?;
    // Everything from here on depends on bytes that anybody may have written.
    args.confining.confine(&Needs::default())?;
    let mut recording = Recording::read(&args.file, file)?;
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    let out = BufWriter::with_capacity(1 << 16, stdout.lock());
    let header = recording.header().clone();
    let sinks = vec![args.view.sink(out, terminal)];
    let mut engine = trace::engine(args.view.options(filter), sinks, &header)?;
    let mut failure = None;
    let mut enough = false;
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
    engine.close()?;
    report_losses(&engine);
    if let Some(error) = failure {
        return Err(error.into());
    }
    Ok(ExitCode::from(u8::from(recording.damaged() > 0)))
}
