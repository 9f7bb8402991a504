//! Lists of jobs on several kernels: one boot for each kernel, a few machines at once.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Result, anyhow};
use guest_init::plan::Job;

use crate::{
    progress,
    vm::{JobOutput, Options, Vm},
};

/// What one kernel is to run.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The kernel, as in `cargo xtask run --vm`.
    pub kernel: String,
    /// Commands; each begins with the program, or, as for a shell, with its environment.
    pub jobs: Vec<Vec<String>>,
}

/// What came of a batch.
pub struct Ran {
    /// [`KernelImage::name`](crate::kernel_image::KernelImage::name): `6.12.117-1`.
    pub version: String,
    /// What each job printed, or why the machine died of it.
    pub outputs: Vec<Result<JobOutput>>,
}

/// Runs the batches on so many machines at once; results are in the order of the batches. Fails for
/// a batch if its kernel cannot be had. `each` gets every output as soon as it is there, with the
/// numbers of batch and job.
pub fn run(
    batches: &[Batch],
    machines: usize,
    options: &Options,
    each: &(dyn Fn(usize, usize, &JobOutput) + Sync),
) -> Vec<Result<Ran>> {
    // One after the other, because they share what they build and download.
    let vms: Vec<_> = batches.iter().map(|b| Vm::new(&b.kernel, options.clone())).collect();
    let slots: Vec<_> = batches.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..machines.clamp(1, batches.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(batch), Some(vm)) = (batches.get(number), vms.get(number)) else {
                        break;
                    };
                    let ran = match vm {
                        Ok(vm) => {
                            Ok(one(vm, &batch.jobs, &|job, output| each(number, job, output)))
                        }
                        Err(e) => Err(anyhow!("{e:#}")),
                    };
                    *slots[number].lock().unwrap_or_else(PoisonError::into_inner) = Some(ran);
                }
            });
        }
    });
    let taken = slots.into_iter().map(|slot| {
        let ran = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
        ran.unwrap_or_else(|| Err(anyhow!("the batch was not run")))
    });
    taken.collect()
}

fn one(vm: &Vm, jobs: &[Vec<String>], each: &dyn Fn(usize, &JobOutput)) -> Ran {
    let version = vm.image().name();
    if !jobs.is_empty() {
        progress::note(&format!("booting {}", vm.image().release));
    }
    let jobs: Vec<_> = jobs.iter().map(|words| job(words)).collect();
    let mut outputs: Vec<Result<JobOutput>> = Vec::with_capacity(jobs.len());
    let mut before = Instant::now();
    // A machine that dies takes one job with it, not the rest; one that cannot even begin a job
    // twice in a row is given up.
    let mut without_progress = 0;
    while outputs.len() < jobs.len() {
        let begun = outputs.len();
        let ended = vm.run_each(&jobs[begun..], &mut |_, _, _| false, &mut |output| {
            each(outputs.len(), &output);
            outputs.push(Ok(output));
            report_progress(&version, outputs.len(), jobs.len(), &mut before);
        });
        let Err(e) = ended else { break };
        without_progress = if outputs.len() == begun { without_progress + 1 } else { 0 };
        progress::note(&format!("kernel {version} died of job {}", outputs.len() + 1));
        let why = format!("{e:#}");
        outputs.push(Err(e));
        if without_progress == 2 {
            outputs.resize_with(jobs.len(), || Err(anyhow!("not run: {why}")));
        }
    }
    Ran { version, outputs }
}

/// `NAME=VALUE` words, if any, then the program and its arguments.
fn job(words: &[String]) -> Job {
    let variable = |word: &&String| word.contains('=') && !word.starts_with('-');
    let env: Vec<_> = words.iter().take_while(variable).collect();
    Job {
        argv: words[env.len()..].to_vec(),
        env: env
            .into_iter()
            .filter_map(|word| word.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        ..Job::default()
    }
}

/// Ten lines for a long list, one for each job of a short one.
fn report_progress(version: &str, done: usize, all: usize, before: &mut Instant) {
    if done.is_multiple_of(all.div_ceil(10)) || done == all {
        let took = progress::seconds(before.elapsed());
        progress::note(&format!("kernel {version}: {done} of {all} done, {took}"));
        *before = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_begins_with_its_environment() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let job = job(&words("A=1 B=x,y overflow lab --set C=2"));
        assert_eq!(job.argv, words("overflow lab --set C=2"));
        let env = [("A", "1"), ("B", "x,y")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(job.env, env);
    }
}
