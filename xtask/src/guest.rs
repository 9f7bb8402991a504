//! The program in VMs that injects segments and runs a tool beside them: what it needs, how it is
//! asked, what it answers.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    arch::Arch,
    artifacts, exec, kernel_image,
    vm::{JobOutput, Options},
    vm_pool::{self, Batch},
};

/// The programs of a machine that it runs in.
pub fn programs(arch: Arch) -> Result<Vec<(String, PathBuf)>> {
    Ok(vec![
        ("bin/guest-bench".to_owned(), artifacts::guest_bench(arch)?),
        ("bin/busybox".to_owned(), kernel_image::busybox(arch)?),
    ])
}

/// How it is asked: the kind of job if it is not the benchmark's, then the job.
pub fn argv(kind: &[&str], job: &impl Serialize) -> Result<Vec<String>> {
    let words = ["guest-bench"].iter().chain(kind).map(|word| (*word).to_owned());
    Ok(words.chain([serde_json::to_string(job)?]).collect())
}

/// What it answers.
pub fn report<T: DeserializeOwned>(output: &JobOutput) -> Result<T> {
    if output.code != 0 {
        bail!("{}", exec::complaint(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("the report is not as expected")
}

/// Boots one machine in virtual time that does these jobs, each at most this long: the kernel's
/// version, and the answers as they come.
pub fn ask<J: Serialize, T: DeserializeOwned>(
    (kernel, arch): (&str, Arch),
    smp: u32,
    (kind, jobs): (&str, &[J]),
    job_limit: Duration,
) -> Result<(String, Vec<Result<T>>)> {
    let options = Options {
        arch,
        label: Some(kind.to_owned()),
        smp,
        // The tool's output stays in memory until its end.
        memory: 1536,
        virtual_time: true,
        cmdline: vec!["quiet".to_owned(), "loglevel=0".to_owned()],
        programs: programs(arch)?,
        boot_limit: Duration::from_mins(5),
        job_limit,
        ..Options::default()
    };
    let jobs = jobs.iter().map(|job| argv(&[kind], job)).collect::<Result<_>>()?;
    let batch = Batch { kernel: kernel.to_owned(), jobs };
    let ran = vm_pool::run(&[batch], 1, &options, &|_, _, _| ()).pop();
    let ran = ran.context("nothing was run")??;
    let reports = ran.outputs.into_iter().map(|output| output.and_then(|o| report(&o)));
    Ok((ran.version, reports.collect()))
}
