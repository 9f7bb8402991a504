//! Plays the cases of `cargo xtask cases`: `guest-cases JSON` plays some and prints their
//! reports as a line of JSON; `guest-cases actor NAME` is a process in one; `guest-cases whatif JSON`
//! plays the pairs of `cargo xtask whatif`.
//!
//! Everything happens in network namespaces that the actors make.

mod actor;
mod counters;
mod destroy;
mod links;
mod nft;
mod play;
mod segment;
mod sockets;
mod steer;
mod storm;
mod sys;
mod tracer;
mod whatif;
mod wire;

use std::{env, process::ExitCode};

use anyhow::{Context as _, Result, bail};

fn main() -> ExitCode {
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e:#}");
            ExitCode::FAILURE
        }
    }
}

fn answer() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["actor", name] => actor::play(name),
        ["whatif", job] => {
            let job = serde_json::from_str(job).context("the argument is no job")?;
            println!("{}", serde_json::to_string(&whatif::play(&job)?)?);
            Ok(())
        }
        [job] => {
            let job = serde_json::from_str(job).context("the argument is no job")?;
            println!("{}", serde_json::to_string(&play::play(&job)?)?);
            Ok(())
        }
        _ => bail!("the argument is missing: a job as JSON"),
    }
}
