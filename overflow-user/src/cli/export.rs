//! `overflow export`: the process that sends to a collector for a confined one. Hidden, since only
//! `overflow` itself starts it.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use overflow::export::serve;

/// Send what comes over stdin to a collector, and report on stdout.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Do not drop privileges
    #[arg(long)]
    no_confine: bool,
}

pub(super) fn run(args: &ExportArgs) -> Result<ExitCode> {
    serve(!args.no_confine)?;
    Ok(ExitCode::SUCCESS)
}
