//! `overflow attribution`: the process that looks at listeners for a confined one. Hidden, since
//! only `overflow` itself starts it.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use overflow::confine::attribution::serve;

/// Look at listeners for the process at the other end of stdin and stdout.
#[derive(Debug, Args)]
pub(super) struct AttributionArgs {
    /// Do not drop privileges
    #[arg(long)]
    no_confine: bool,
}

pub(super) fn run(args: &AttributionArgs) -> Result<ExitCode> {
    serve(!args.no_confine)?;
    Ok(ExitCode::SUCCESS)
}
