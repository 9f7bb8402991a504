//! Has the eBPF side read every namespace's counters on every CPU before anything is judged: what they
//! rise by later then belongs to what a hook saw.

use aya::{
    Ebpf,
    maps::Array,
    programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _},
    util::online_cpus,
};

use super::{
    error::{LoadError, refusal},
    load::map,
};

/// Runs for one CPU; more namespaces than 64 times as many are not surveyed.
const RUNS: usize = 1 << 12;

/// `first` and `next` of the eBPF side's `Survey`.
type Place = [u64; 2];

/// Surveys all CPUs; the error says why not.
pub(super) fn survey(ebpf: &mut Ebpf) -> Result<(), String> {
    let program: &mut RawTracePoint = ebpf
        .program_mut("survey")
        .ok_or("not in the eBPF object")?
        .try_into()
        .map_err(|e: ProgramError| refusal(&e))?;
    program.load().map_err(|e| refusal(&e))?;
    // In this process: an interrupt's current task may be any.
    run(ebpf, None)?;
    let [first, _] = place(ebpf)?;
    if first == 0 {
        return Err("the namespaces cannot be found in this kernel's memory".to_owned());
    }
    let cpus = online_cpus().map_err(|(why, e)| format!("{why}: {e}"))?;
    for cpu in cpus {
        let text = |e: LoadError| e.to_string();
        let mut survey: Array<_, Place> = map(ebpf, "SURVEY").map_err(text)?;
        survey.set(0, [first, first], 0).map_err(|e| text(LoadError::Write(e)))?;
        let mut runs = 0;
        while place(ebpf)?[1] != 0 {
            runs += 1;
            if runs > RUNS {
                return Err("there are too many network namespaces".to_owned());
            }
            run(ebpf, Some(cpu))?;
        }
    }
    let text = |e: LoadError| e.to_string();
    let mut forgotten: Array<_, u64> = map(ebpf, ".data.forgotten").map_err(text)?;
    forgotten.set(0, 0, 0).map_err(|e| text(LoadError::Write(e)))
}

fn run(ebpf: &mut Ebpf, cpu: Option<u32>) -> Result<(), String> {
    let program = ebpf.program_mut("survey").ok_or("not in the eBPF object")?;
    let program: &mut RawTracePoint = program.try_into().map_err(|e: ProgramError| refusal(&e))?;
    let options = RawTracePointRunOptions { cpu, ..RawTracePointRunOptions::new() };
    program.test_run(options).map_err(|e| refusal(&e)).map(drop)
}

fn place(ebpf: &mut Ebpf) -> Result<Place, String> {
    let survey: Array<_, Place> = map(ebpf, "SURVEY").map_err(|e| e.to_string())?;
    survey.get(&0, 0).map_err(|e| LoadError::Write(e).to_string())
}
