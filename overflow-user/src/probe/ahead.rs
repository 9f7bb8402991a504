//! Attaches what the best rungs need before the ladders are climbed, several programs at a time: most of
//! attaching is waiting for the kernel, and where there are more CPUs they verify side by side.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

use aya::{Btf, Ebpf, programs::Program};

use super::{climb, ladder::Hook, survey};
use overflow_host::kernel::Kernel;

/// What became of hooks, by program and target.
pub(super) type Attached = BTreeMap<(&'static str, &'static str), Result<(), String>>;

/// So many programs at a time: more do not wait for less.
const AT_A_TIME: usize = 4;

/// Attaches all of `hooks`, and loads the survey. If the first is refused, so would most others be:
/// nothing more is tried, and nothing is attached.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    btf: Option<&Btf>,
    kernel: &Kernel,
    hooks: &[Hook],
) -> Option<Attached> {
    let (first, rest) = hooks.split_first()?;
    let mut one = |hook: &Hook| match ebpf.program_mut(hook.program) {
        Some(program) => climb::attach(program, hook, btf, kernel),
        None => Err(climb::NOT_IN_OBJECT.to_owned()),
    };
    one(first).ok()?;
    let mut attached = Attached::from([((first.program, first.target), Ok(()))]);
    // One program can be on several functions, one after the other.
    let mut by_program: BTreeMap<&str, Vec<&Hook>> =
        BTreeMap::from([(survey::PROGRAM, Vec::new())]);
    for hook in rest {
        by_program.entry(hook.program).or_default().push(hook);
    }
    let programs = ebpf.programs_mut();
    let mut jobs: VecDeque<(&mut Program, Vec<&Hook>)> =
        programs.filter_map(|(name, program)| Some((program, by_program.remove(name)?))).collect();
    // The survey takes the verifier longest.
    jobs.make_contiguous().sort_by_key(|(_, hooks)| !hooks.is_empty());
    let jobs = Mutex::new(jobs);
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let (done, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            let done = done.clone();
            scope.spawn(move || {
                while let Some((program, hooks)) = next() {
                    if hooks.is_empty() {
                        // A refusal is met again, and told, when it is needed.
                        let _ = survey::load(program);
                    }
                    for hook in hooks {
                        let result = climb::attach(program, hook, btf, kernel);
                        let _ = done.send(((hook.program, hook.target), result));
                    }
                }
            });
        }
    });
    drop(done);
    attached.extend(results);
    Some(attached)
}
