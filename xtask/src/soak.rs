//! `cargo xtask soak`: mixed load in a VM for half an hour of its clock. Does the tool's memory stay
//! flat?

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use guest_bench::{memory::Memory, soak::SoakReport};
use serde::{Deserialize, Serialize};

use crate::{
    arch::Arch,
    guest, kernels, setup,
    storm_document::{self, Document},
};

/// The fewest minutes that are worth being documented.
const WHOLE: u64 = 30;
/// Minutes before what is flat begins: connections are remembered for 130 s.
const WARM_UP: usize = 4;
/// What the last third may have more than the first at most, KiB: allocators round.
const MARGIN_KIB: u64 = 512;
const METRICS: &str = "127.0.0.1:9435";

/// Arguments of `cargo xtask soak`.
#[derive(Args)]
pub struct SoakArgs {
    /// Minutes of the VM's clock; with fewer than 30 the result goes to target/storm/
    #[arg(long, value_name = "N", default_value_t = WHOLE,
        value_parser = clap::value_parser!(u64).range(7..=1440))]
    minutes: u64,
    /// Kernel to boot, as in `cargo xtask run --vm`
    #[arg(long, value_name = "KERNEL", default_value = kernels::DEFAULT)]
    kernel: String,
    /// Architecture of the machine
    #[arg(long, value_name = "ARCH", default_value_t = Arch::HOST, value_enum)]
    arch: Arch,
}

/// A soak and what it showed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Soaked {
    /// Version of the kernel's package.
    pub kernel: String,
    /// What was attached.
    pub command: String,
    /// What happened.
    #[serde(rename = "diary")]
    pub report: SoakReport,
}

/// Most of the first third and most of the last, KiB, after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thirds {
    pub first_kib: u64,
    pub last_kib: u64,
}

impl Thirds {
    /// Of a figure over the minutes; the first sample is from before the load.
    pub fn of(samples: &[Memory], figure: fn(&Memory) -> u64) -> Option<Self> {
        let warm = samples.get(1 + WARM_UP..)?;
        let third = warm.len() / 3;
        let most = |part: &[Memory]| part.iter().map(figure).max();
        Some(Self {
            first_kib: most(&warm[..third])?,
            last_kib: most(&warm[warm.len() - third..])?,
        })
    }

    /// Whether it did not grow.
    pub fn flat(&self) -> bool {
        self.last_kib <= self.first_kib + MARGIN_KIB
    }
}

impl Soaked {
    /// Whether memory is flat and the metrics have every overflow.
    pub fn passed(&self) -> bool {
        let flat = |figure| Thirds::of(&self.report.samples, figure).is_some_and(|t| t.flat());
        flat(|m| m.rss_kib) && flat(|m| m.anon_kib) && self.counted()
    }

    /// Whether the metrics have every overflow.
    pub fn counted(&self) -> bool {
        self.report.metrics_overflows == self.report.overflows
    }
}

/// Soaks, prints the samples and the judgement, and writes docs/storm.md.
pub fn soak(args: &SoakArgs) -> Result<ExitCode> {
    setup::build_tools()?;
    let command = ["overflow", "trace", "--metrics-listen", METRICS];
    let mut tool = command.map(str::to_owned).to_vec();
    tool[0].insert_str(0, "/bin/");
    let job = guest_bench::soak::Soak { tool, minutes: args.minutes, metrics: METRICS.to_owned() };
    // Virtual time is faster than the clock, unless the machine is very busy.
    let limit = Duration::from_mins(30 + 2 * args.minutes);
    let (kernel, reports) = guest::ask((&args.kernel, args.arch), 1, ("soak", &[job]), limit)?;
    let report = reports.into_iter().next().context("nothing came back")?;
    let soaked = Soaked {
        kernel,
        command: command.join(" "),
        report: report.map_err(|e: anyhow::Error| anyhow!("{e:#}"))?,
    };
    print!("{}", storm_document::soak(&soaked));
    let passed = soaked.passed();
    Document::update(args.minutes >= WHOLE, |document| document.soak = Some(soaked))?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_not_flat() {
        let samples = |last: u64| -> Vec<_> {
            let rss = |minute: u64| if minute < 20 { 9000 } else { last };
            (0..31).map(|m| Memory { rss_kib: rss(m), ..Memory::default() }).collect()
        };
        let thirds = |last| Thirds::of(&samples(last), |m| m.rss_kib).unwrap();
        assert_eq!(thirds(9400), Thirds { first_kib: 9000, last_kib: 9400 });
        assert!(thirds(9400).flat() && !thirds(9600).flat());
        assert_eq!(Thirds::of(&samples(1)[..6], |m| m.rss_kib), None);
    }
}
