//! Has the eBPF side read every namespace's counters on every CPU: before anything is judged, so that
//! what they rise by later belongs to what a hook saw; and for each look at the counters, so that
//! what no hook saw is known too.

use aya::{
    Ebpf,
    maps::{Array, HashMap},
    programs::{Program, ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _},
    util::online_cpus,
};

use overflow_common::CountersRead;

use super::{
    climb::NOT_IN_OBJECT,
    error::{LoadError, refusal},
    load::map,
};

/// The eBPF program.
pub(super) const PROGRAM: &str = "survey";
/// The section of the object that it is in.
pub(super) const SECTION: &str = "raw_tp";

/// Runs for one CPU; more namespaces than 8 times as many are not surveyed.
const RUNS: usize = 1 << 15;

/// `first`, `next` and `peek` of the eBPF side's `Survey`.
type Place = [u64; 3];

/// A survey that was made, and can be made again.
#[derive(Debug)]
pub(super) struct Survey {
    /// The `net->list` that it begins with.
    first: u64,
    cpus: Vec<u32>,
}

impl Survey {
    /// Surveys all CPUs for the first time; the error says why not.
    pub(super) fn begin(ebpf: &mut Ebpf) -> Result<Self, String> {
        load(ebpf.program_mut(PROGRAM).ok_or(NOT_IN_OBJECT)?)?;
        // In this process: an interrupt's current task may be any.
        run(ebpf, None)?;
        let [first, ..] = place(ebpf)?;
        if first == 0 {
            return Err("the namespaces cannot be found in this kernel's memory".to_owned());
        }
        let cpus = online_cpus().map_err(|(why, e)| format!("{why}: {e}"))?;
        let survey = Self { first, cpus };
        survey.all(ebpf, 0)?;
        let text = |e: LoadError| e.to_string();
        let mut forgotten: Array<_, u64> = map(ebpf, ".data.forgotten").map_err(text)?;
        forgotten.set(0, 0, 0).map_err(|e| text(LoadError::Write(e)))?;
        Ok(survey)
    }

    /// What the kernel counted and no hook has read yet, by inode number of the network namespace.
    pub(super) fn pending(&self, ebpf: &mut Ebpf) -> Result<Vec<(u32, CountersRead)>, String> {
        let text = |e: LoadError| e.to_string();
        let mut found: HashMap<_, u32, CountersRead> = map(ebpf, "PENDING").map_err(text)?;
        let known: Vec<u32> = found.keys().filter_map(Result::ok).collect();
        for netns in known {
            let _ = found.remove(&netns);
        }
        self.all(ebpf, 1)?;
        let found: HashMap<_, u32, CountersRead> = map(ebpf, "PENDING").map_err(text)?;
        Ok(found.iter().filter_map(Result::ok).collect())
    }

    /// One CPU after the other.
    fn all(&self, ebpf: &mut Ebpf, peek: u64) -> Result<(), String> {
        for cpu in &self.cpus {
            let text = |e: LoadError| e.to_string();
            let mut survey: Array<_, Place> = map(ebpf, "SURVEY").map_err(text)?;
            let begin = [self.first, self.first, peek];
            survey.set(0, begin, 0).map_err(|e| text(LoadError::Write(e)))?;
            let mut runs = 0;
            while place(ebpf)?[1] != 0 {
                runs += 1;
                if runs > RUNS {
                    return Err("there are too many network namespaces".to_owned());
                }
                run(ebpf, Some(*cpu))?;
            }
        }
        Ok(())
    }
}

/// Loads the program, if that is not done yet.
pub(super) fn load(program: &mut Program) -> Result<(), String> {
    let program: &mut RawTracePoint = program.try_into().map_err(|e: ProgramError| refusal(&e))?;
    if program.fd().is_ok() { Ok(()) } else { program.load().map_err(|e| refusal(&e)) }
}

fn run(ebpf: &mut Ebpf, cpu: Option<u32>) -> Result<(), String> {
    let program = ebpf.program_mut(PROGRAM).ok_or(NOT_IN_OBJECT)?;
    let program: &mut RawTracePoint = program.try_into().map_err(|e: ProgramError| refusal(&e))?;
    let options = RawTracePointRunOptions { cpu, ..RawTracePointRunOptions::new() };
    program.test_run(options).map_err(|e| refusal(&e)).map(drop)
}

fn place(ebpf: &mut Ebpf) -> Result<Place, String> {
    let survey: Array<_, Place> = map(ebpf, "SURVEY").map_err(|e| e.to_string())?;
    survey.get(&0, 0).map_err(|e| LoadError::Write(e).to_string())
}
