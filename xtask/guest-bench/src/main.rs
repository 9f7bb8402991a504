//! Does what xtask asks and prints the report as one line of JSON: `guest-bench JSON` measures one
//! row of `cargo xtask bench`, `guest-bench storm JSON` and `guest-bench soak JSON` do as they say,
//! `guest-bench attach` only tries whether this kernel lets it trace.
//!
//! The load is driven only in a VM; on this machine itself only what a tool takes to attach is
//! measured.

mod bpf;
mod btf;
mod flood;
mod load;
mod mixed;
mod net;
mod procfs;
mod tool_output;
mod tool;

use std::{collections::HashMap, env, process::ExitCode, thread, time::Duration};

use anyhow::{Context as _, Result, bail};
use guest_bench::{
    job::{Hook, HookKind, HookRuns, Job, Report, What},
    stat::as_f64,
};
use serde::de::DeserializeOwned;

use crate::{bpf::Attached, btf::Btf, net::Wire, tool::Running};

/// Handshakes after which the runs of programs are counted.
const COUNTED: usize = 200;
const STATISTICS: &str = "kernel/bpf_stats_enabled";

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
    let report = match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["attach"] => serde_json::to_string(&attachable()?),
        [job] => serde_json::to_string(&measure(&job_of(job)?)?),
        ["storm", job] => serde_json::to_string(&flood::storm(&job_of(job)?)?),
        ["soak", job] => serde_json::to_string(&mixed::soak(&job_of(job)?)?),
        _ => bail!("the argument is missing: a job as JSON"),
    };
    println!("{}", report?);
    Ok(())
}

fn job_of<T: DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).context("the argument is no job")
}

/// The best way to attach that this kernel allows, with a program that does nothing.
fn attachable() -> Result<&'static str> {
    let btf = Btf::of_this_kernel()?;
    let mut refusals = Vec::new();
    for (kind, target) in [
        (HookKind::Fentry, "tcp_conn_request"),
        (HookKind::Kprobe, "tcp_conn_request"),
        (HookKind::TpBtf, "tcp_retransmit_synack"),
    ] {
        match bpf::attach_empty(&Hook { kind, target: target.to_owned() }, &btf) {
            Ok(_) => return Ok(kind.as_str()),
            Err(e) => refusals.push(format!("{e:#}")),
        }
    }
    bail!("{}", refusals.join("; "))
}

fn measure(job: &Job) -> Result<Report> {
    let mut report = Report::default();
    let driven = job.load.healthy > 0;
    let mut wire = if driven { Some(Wire::new()?) } else { None };
    if let Some(wire) = &mut wire {
        // The first of everything costs more: slabs, routes, code not yet translated.
        load::handshakes(wire, COUNTED)?;
        report.before = load::drive(wire, job.load, &[], None)?;
    }
    match &job.what {
        What::Nothing => {
            if let Some(wire) = &mut wire {
                report.with = load::drive(wire, job.load, &[], None)?;
            }
        }
        What::Empty(hooks) => {
            let btf = Btf::of_this_kernel()?;
            let programs = attach(hooks, &btf)?;
            if let Some(wire) = &mut wire {
                report.with = load::drive(wire, job.load, &[], None)?;
                report.hooks = runs(wire, &btf, hooks)?;
            }
            drop(programs);
        }
        What::Tool(argv) => {
            let settle = Duration::from_millis(job.settle_ms);
            let mut running = Running::start(argv, settle, driven)?;
            if let Some(wire) = &mut wire {
                report.with = load::drive(wire, job.load, &job.verdicts, Some(&mut running))?;
                let btf = Btf::of_this_kernel()?;
                report.hooks = runs(wire, &btf, &[])?;
            }
            report.tool = Some(running.stop()?);
            if let Some(wire) = wire.as_mut().filter(|_| job.floor) {
                // Links are taken apart after a grace period.
                thread::sleep(Duration::from_secs(1));
                let hooks: Vec<_> = report.hooks.iter().map(|runs| runs.hook.clone()).collect();
                let programs = attach(&hooks, &Btf::of_this_kernel()?)?;
                report.floor = Some(load::drive(wire, job.load, &[], None)?);
                drop(programs);
            }
        }
        What::Once(argv) => report.tool = Some(Running::once(argv)?),
    }
    Ok(report)
}

fn attach(hooks: &[Hook], btf: &Btf) -> Result<Vec<Attached>> {
    hooks.iter().map(|hook| bpf::attach_empty(hook, btf)).collect()
}

/// How often each program runs for one handshake. Programs attached without a link are those of
/// `unlinked`, in their order.
fn runs(wire: &mut Wire, btf: &Btf, unlinked: &[Hook]) -> Result<Vec<HookRuns>> {
    net::sysctl(STATISTICS, "1")?;
    let before: HashMap<u32, u64> = bpf::run_counts()?.into_iter().collect();
    load::handshakes(wire, COUNTED)?;
    let after = bpf::run_counts()?;
    net::sysctl(STATISTICS, "0")?;
    let mut unlinked = unlinked.iter();
    let mut links = bpf::links(btf)?;
    let mut all = Vec::new();
    for (program, count) in after {
        let ran = count - before.get(&program).copied().unwrap_or(0);
        let mut hooks: Vec<Hook> = Vec::new();
        links.retain(|link| {
            let its = link.program == program;
            if its {
                hooks.push(link.hook.clone());
            }
            !its
        });
        if hooks.is_empty() {
            hooks.extend(unlinked.next().cloned());
        }
        // One program can be attached in several places: its runs are then shown at the first.
        for (number, hook) in hooks.into_iter().enumerate() {
            let ran = if number == 0 { ran } else { 0 };
            all.push(HookRuns { hook, per_handshake: as_f64(ran) / as_f64(COUNTED as u64) });
        }
    }
    Ok(all)
}
