//! `overflow lab`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

/// Run the experiment in network namespaces of its own.
#[derive(Debug, Args)]
pub struct LabArgs {}

pub(super) fn run(_args: &LabArgs) -> Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
