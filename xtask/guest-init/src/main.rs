//! The whole user space of a test VM: mounts, loads modules, runs the plan, powers off.
//!
//! It runs as process 1. If it fails it exits, the kernel panics, QEMU ends, and xtask shows the
//! console, on which the reason is the last line before the panic.

mod job;
mod line;
mod system;

use std::fs;

use anyhow::{Context as _, Result};
use guest_init::{
    frame::Frame,
    plan::{PLAN, Plan},
};

use crate::line::Line;

fn main() -> Result<()> {
    let mut warnings = system::mount_all()?;
    let plan = fs::read_to_string(PLAN).with_context(|| format!("cannot read {PLAN}"))?;
    let plan: Plan = serde_json::from_str(&plan).with_context(|| format!("cannot parse {PLAN}"))?;
    warnings.extend(system::load_modules(&plan.modules));

    if let Some(shell) = plan.shell {
        for warning in &warnings {
            eprintln!("{warning}");
        }
        system::shell(&shell)?;
    } else {
        let line = Line::open(&plan.frames_tty)?;
        for warning in warnings {
            line.send(&Frame::Warning(warning))?;
        }
        line.send(&Frame::Ready(system::release()))?;
        for (number, job) in plan.jobs.iter().enumerate() {
            job::run(job, number, &line)?;
        }
        line.send(&Frame::Done)?;
        line.drain()?;
    }
    system::power_off()
}
