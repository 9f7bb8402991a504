//! arm64 where this machine is x86-64, in `cargo xtask test`: what doctor and the lab say on a kernel
//! before trampolines and on one that has them, and that a confined trace works by arm64's system calls.

use anyhow::{Context as _, Result};
use overflow_core::wire::Known;

use crate::{
    arch::Arch,
    artifacts, exec, kernel_image, lines, matrix, no_btf, progress,
    test::Checks,
    vm::{JobOutput, Options},
    vm_pool::{self, Batch},
};

/// A kernel, its best rung for third ACKs, and whether that is all it has.
const KERNELS: [(&str, &str, bool); 2] =
    [("5.10.223-1", "third ACK kprobe", true), ("6.12", "third ACK fentry", false)];
/// Why there is no trampoline.
const WHY: &str = "on arm64 that takes Linux 6.4 with CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS";

/// Builds the tool and a VM's init, which is a check of its own.
pub fn build() -> Result<Checks> {
    let mut checks = Checks::default();
    for built in [artifacts::guest_init(Arch::Arm64), artifacts::overflow(Arch::Arm64)] {
        let built = built?;
        checks.check(built.is_file(), || format!("cargo did not build {}", built.display()));
    }
    Ok(checks)
}

/// Boots both kernels at once.
pub fn vms() -> Result<Checks> {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let centos7 = "overflow lab --scenario centos7";
    let jobs = [
        words("overflow doctor"),
        words("overflow lab --output json --hold 8"),
        words("overflow lab --rung fentry --scenario centos7"),
        [words("overflow trace --output json --cmd"), vec![centos7.to_owned()]].concat(),
    ];
    let batch =
        |(kernel, ..): (&str, _, _)| Batch { kernel: kernel.to_owned(), jobs: jobs.to_vec() };
    let options = Options {
        arch: Arch::Arm64,
        label: Some("test".into()),
        virtual_time: true,
        // `--cmd` starts a shell.
        programs: vec![("bin/sh".to_owned(), kernel_image::busybox(Arch::Arm64)?)],
        ..Options::default()
    };
    let batches = KERNELS.map(batch);
    let mut all = Checks::default();
    let ran = vm_pool::run(&batches, batches.len(), &options, &|_, _, _| ());
    for ((kernel, best, alone), ran) in KERNELS.into_iter().zip(ran) {
        let ran = ran.with_context(|| format!("kernel {kernel} of arm64"))?;
        let outputs: Vec<_> = ran.outputs.into_iter().collect::<Result<_>>()?;
        let [doctor, seed, fentry, trace] = &outputs[..] else {
            anyhow::bail!("kernel {} did not run every command", ran.version)
        };
        let mut checks = Checks::default();
        says(doctor, best, alone, &mut checks);
        traced(seed, &mut checks)?;
        refused(fentry, alone, &mut checks);
        no_btf::overflows("trace", trace, &mut checks)?;
        progress::note(&format!("kernel {}: {}", ran.version, checks.counts()));
        all.add(checks.of(&ran.version));
    }
    Ok(all)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Doctor names the rung, and why there is none better.
fn says(doctor: &JobOutput, best: &str, alone: bool, checks: &mut Checks) {
    let text = text(&doctor.stdout);
    let traced = "Every syn.* and ack.* verdict is traced";
    for (expected, wanted) in
        [(best, true), (traced, true), (WHY, alone), ("Not so for IPv6", false)]
    {
        checks.check(text.contains(expected) == wanted, || {
            let what = if wanted { "does not say" } else { "says" };
            format!("doctor {what} {expected:?}: {text} {}", exec::complaint(&doctor.stderr))
        });
    }
}

/// Every stage of the seed experiment is traced, the witnesses agree, and it is as measured.
fn traced(seed: &JobOutput, checks: &mut Checks) -> Result<()> {
    checks.check(matrix::seed_is_measured(seed)?, || {
        format!("the seed experiment is not as on any measured kernel: {}", text(&seed.stdout))
    });
    let lines = lines::read(&seed.stdout)?;
    let stages = || lines::connections(&lines).flat_map(|line| line.stages.iter());
    let weaker = stages().find(|stage| stage.known != Known::Traced);
    checks.check(weaker.is_none() && stages().next().is_some(), || {
        format!("{:?} of the seed experiment is not traced", weaker.map(|stage| stage.id.as_str()))
    });
    Ok(())
}

/// Where fentry cannot be, the lab says so in one sentence and does not go on with another rung.
fn refused(fentry: &JobOutput, alone: bool, checks: &mut Checks) {
    let (said, printed) = (text(&fentry.stderr), text(&fentry.stdout));
    if alone {
        let once = said.matches("rung cannot be used here").count() == 1;
        checks.check(fentry.code == 1 && once && said.contains(WHY) && printed.is_empty(), || {
            format!("lab --rung fentry: status {}: {said}; {printed}", fentry.code)
        });
    } else {
        checks.check(fentry.code == 0, || format!("lab --rung fentry: {said}"));
    }
}
