//! `cargo xtask cases`: crafted segments and servers of several processes against `overflow trace`,
//! in VMs and here: is what the tool says what the kernel did?

mod case;
mod catalog;
mod judge;
mod table;

use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum as _};
use guest_cases::job::{Job, Report};

use crate::{
    arch::Arch,
    artifacts, exec, guest,
    kernels::version,
    needs::{Here, Needs, Verdict},
    rung::Rung,
    setup,
    test::Checks,
    vm::{JobOutput, Options},
    vm_pool::{self, Batch},
    workspace,
};
use case::{Case, Mode};
use table::{Cell, Ended, Table};

/// The kernels that are taken if none are named, oldest first.
const KERNELS: &[&str] = &["5.10.223-1", "6.1", "6.12", "7.3"];
/// Those of `cargo xtask test`, and the rungs there: each rung on a kernel, the one that sees least on both.
const TESTED: [(&str, &[Rung]); 2] = [
    ("5.10.223-1", &[Rung::Fentry, Rung::Tracepoint]),
    ("6.12", &[Rung::Kprobe, Rung::Tracepoint]),
];
/// The first of them has the verifier that takes least: there this case is played in every mode by every rung,
/// so that every program is loaded.
const LOADED: &str = "reuseport.third_ack";
/// Modules that some cases need.
const MODULES: &[&str] =
    &["macvlan", "ipvlan", "8021q", "nft_chain_nat", "nft_redir", "nft_tproxy", "smc"];
/// How this machine's own kernel is named.
const NATIVE: &str = "native";
/// How long one case may take.
const LIMIT: Duration = Duration::from_mins(10);

/// Arguments of `cargo xtask cases`.
#[derive(Args)]
pub struct CasesArgs {
    /// Kernels to boot, as in `cargo xtask run --vm`
    #[arg(long, value_name = "KERNEL", value_delimiter = ',')]
    kernels: Vec<String>,
    /// Architecture of the machines
    #[arg(long, value_name = "ARCH", default_value_t = Arch::HOST, value_enum)]
    arch: Arch,
    /// Rungs to trace by
    #[arg(long, value_name = "RUNG", value_delimiter = ',')]
    rungs: Vec<Rung>,
    /// Ways to trace, of those that a case has
    #[arg(long, value_name = "MODE", value_delimiter = ',')]
    modes: Vec<Mode>,
    /// Cases whose names begin so
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    cases: Vec<String>,
    /// Also on this machine's own kernel, in namespaces of their own; without `--kernels`, only
    /// there
    #[arg(long)]
    native: bool,
    /// Machines at once
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Start the tool anew for each case, so that none is traced after another
    #[arg(long)]
    alone: bool,
    /// Only say which cases there are
    #[arg(long)]
    list: bool,
}

/// One run: a case, traced in one way by one rung.
#[derive(Clone, Copy)]
struct Run {
    case: &'static Case,
    mode: Mode,
    rung: Rung,
}

/// Runs the cases and prints what came out of each.
pub fn cases(args: &CasesArgs) -> Result<ExitCode> {
    if args.list {
        for case in catalog::all() {
            println!("{:<32} {}", case.name, case.shows);
        }
        return Ok(ExitCode::SUCCESS);
    }
    setup::build_tools()?;
    artifacts::quick();
    let kernels: Vec<_> = match &args.kernels[..] {
        [] if args.native => Vec::new(),
        [] => KERNELS.iter().map(|&kernel| kernel.to_owned()).collect(),
        named => named.to_vec(),
    };
    let kernels: Vec<_> = kernels.into_iter().map(|kernel| (kernel, chosen(args))).collect();
    let mut table = in_vms((&kernels, args.arch), args.jobs, args.alone)?;
    if args.native {
        table.extend(natively(&chosen(args), &Here::default(), args.alone)?);
    }
    print!("{}", table.render());
    let checks = table.check();
    println!("{}", checks.counts());
    Ok(if checks.failed() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What `cargo xtask test` runs: here all, and on an old and a new kernel, by some rungs, what one start
/// of the default trace can trace together. The rest takes longer: `cargo xtask cases` has it.
pub fn subset(kernels: &[String], jobs: usize, here: &dyn Needs) -> Result<Checks> {
    let by_default = |rungs: &[Rung]| {
        let together = |case: &Case| !case.alone && !case.smp;
        runs(together, |mode| mode == Mode::Default, |rung| rungs.contains(&rung))
    };
    let kernels: Vec<_> = match kernels {
        [] => {
            let mut tested = TESTED.map(|(kernel, rungs)| (kernel.to_owned(), by_default(rungs)));
            let tested_anyway =
                |run: &Run| run.mode == Mode::Default && TESTED[0].1.contains(&run.rung);
            let mut loads = runs(|case| case.name == LOADED, |_| true, |_| true);
            loads.retain(|run| !tested_anyway(run));
            tested[0].1.append(&mut loads);
            tested.into()
        }
        named => {
            let all = by_default(Rung::value_variants());
            named.iter().map(|kernel| (kernel.clone(), all.clone())).collect()
        }
    };
    let mut table = in_vms((&kernels, Arch::HOST), jobs, false)?;
    table.extend(natively(&runs(|_| true, |_| true, |_| true), here, false)?);
    Ok(table.check())
}

fn chosen(args: &CasesArgs) -> Vec<Run> {
    let named = |case: &Case| args.cases.iter().any(|name| case.name.starts_with(name.as_str()));
    runs(
        |case| args.cases.is_empty() || named(case),
        |mode| args.modes.is_empty() || args.modes.contains(&mode),
        |rung| args.rungs.is_empty() || args.rungs.contains(&rung),
    )
}

fn runs(
    case: impl Fn(&Case) -> bool,
    mode: impl Fn(Mode) -> bool,
    rung: impl Fn(Rung) -> bool,
) -> Vec<Run> {
    let mut runs = Vec::new();
    for case in catalog::all().filter(|c| case(c)) {
        for &m in case.modes.iter().filter(|m| mode(**m)) {
            for r in Rung::value_variants().iter().filter(|r| rung(**r)) {
                runs.push(Run { case, mode: m, rung: *r });
            }
        }
    }
    runs
}

/// Runs that one start of the tool traces.
struct Group {
    runs: Vec<Run>,
}

/// The runs, those together that can be.
fn groups(runs: impl Iterator<Item = Run>, alone: bool) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for run in runs {
        let joins = |group: &&mut Group| {
            let Run { case, mode, rung } = group.runs[0];
            !alone && !case.alone && !run.case.alone && (mode, rung) == (run.mode, run.rung)
        };
        match groups.iter_mut().find(joins) {
            Some(group) => group.runs.push(run),
            None => groups.push(Group { runs: vec![run] }),
        }
    }
    groups
}

impl Group {
    fn job(&self, tool: &str) -> Result<String> {
        let Run { case, mode, rung } = self.runs[0];
        let words = [tool, "trace", "--output", "json", "--rung", rung.name()].into_iter();
        let words = words.chain(mode.args().iter().copied()).chain(case.args.iter().copied());
        let scripts = self.runs.iter().map(|run| run.case.script.to_owned());
        let job = Job { tool: words.map(str::to_owned).collect(), scripts: scripts.collect() };
        Ok(serde_json::to_string(&job)?)
    }

    /// What became of each.
    fn ended(&self, kernel: &str, output: Result<JobOutput>, table: &mut Table) -> Result<()> {
        let reports = output.and_then(|output| guest::report::<Vec<Report>>(&output));
        match reports {
            Err(e) => {
                let ended = Ended::Wrong(vec![format!("{e:#}")]);
                self.runs.iter().for_each(|run| table.add(Cell::of(*run, kernel, ended.clone())));
            }
            Ok(mut reports) => {
                if reports.len() > 1 {
                    table.add(self.losses(kernel, &mut reports));
                }
                for (run, report) in self.runs.iter().zip(&reports) {
                    keep(kernel, *run, report)?;
                    table.add(Cell::of(*run, kernel, run.ended(kernel, report)));
                }
            }
        }
        Ok(())
    }
}

impl Group {
    /// What was lost cannot be told by case: it is one check for all of them.
    fn losses(&self, kernel: &str, reports: &mut [Report]) -> Cell {
        let first = reports.first_mut().map(|report| std::mem::take(&mut report.said.losses));
        let lost: Vec<_> = first.into_iter().flatten().collect();
        for report in reports {
            report.said.losses.clear();
        }
        let wrong = lost.iter().map(|(what, n)| format!("said that {n} {what} were lost"));
        let ended = if lost.is_empty() { Ended::Right } else { Ended::Wrong(wrong.collect()) };
        Cell::of(Run { case: &TOGETHER, ..self.runs[0] }, kernel, ended)
    }
}

/// Stands for all cases that were traced together.
static TOGETHER: Case = Case { name: "losses of those together", ..case::CASE };

impl Run {
    fn name(self) -> String {
        format!("{}{}-{}", self.case.name, self.mode.args().join("="), self.rung.name())
    }

    fn ended(self, kernel: &str, report: &Report) -> Ended {
        if let Some(what) = &report.lacks {
            return match self.excuse(kernel, what) {
                Ok(why) => Ended::Skipped(why),
                Err(why) => Ended::Wrong(vec![why]),
            };
        }
        // Since v6.15, commit a11a791ca81e.
        let reasons = version(kernel).is_none_or(|version| version >= (6, 15));
        match judge::judge(self.case, self.mode, self.rung, reasons, report) {
            wrong if wrong.is_empty() => Ended::Right,
            mut wrong => {
                wrong.extend(report.stderr.lines().map(|line| format!("stderr: {line}")));
                Ended::Wrong(wrong)
            }
        }
    }

    /// Whether what is lacking may be lacking there.
    fn excuse(self, kernel: &str, what: &str) -> Result<String, String> {
        let need = self.case.needs.iter().find(|need| need.what == what);
        let Some(need) = need else {
            return Err(format!("it could not run for want of {what}, which it does not name"));
        };
        match (need.since, version(kernel)) {
            (Some(since), Some(version)) if version >= since => {
                Err(format!("kernel {kernel} should have {what}, but has not"))
            }
            _ => Ok(format!("needs {what}")),
        }
    }
}

/// What is to be run on each kernel, in a machine with one processor and in one with four.
fn in_vms(
    (kernels, arch): (&[(String, Vec<Run>)], Arch),
    machines: usize,
    alone: bool,
) -> Result<Table> {
    let mut table = Table::default();
    for smp in [1, 4] {
        let of = |(kernel, runs): &(String, Vec<Run>)| {
            let runs = runs.iter().copied().filter(|run| run.case.smp == (smp == 4));
            (kernel.clone(), groups(runs, alone))
        };
        let kernels: Vec<_> =
            kernels.iter().map(of).filter(|(_, groups)| !groups.is_empty()).collect();
        if kernels.is_empty() {
            continue;
        }
        let batch = |(kernel, groups): &(String, Vec<Group>)| {
            let job = |group: &Group| {
                anyhow::Ok(vec!["guest-cases".to_owned(), group.job("/bin/overflow")?])
            };
            let jobs = groups.iter().map(job).collect::<Result<_>>()?;
            anyhow::Ok(Batch { kernel: kernel.clone(), jobs })
        };
        let batches: Vec<_> = kernels.iter().map(batch).collect::<Result<_>>()?;
        let options = Options {
            arch,
            label: Some(format!("cases{smp}")),
            smp,
            memory: 1024,
            // 5.10 waits for its other processors in a loop, in which they get no time of QEMU's.
            virtual_time: smp == 1,
            cmdline: vec!["quiet".to_owned(), "loglevel=0".to_owned()],
            modules: MODULES,
            programs: vec![("bin/guest-cases".to_owned(), artifacts::guest_cases(arch)?)],
            boot_limit: Duration::from_mins(5),
            job_limit: LIMIT,
            ..Options::default()
        };
        let ran = vm_pool::run(&batches, machines, &options, &|_, _, _| ());
        for ((kernel, groups), ran) in kernels.iter().zip(ran) {
            let ran = ran.with_context(|| format!("kernel {kernel}"))?;
            for (group, output) in groups.iter().zip(ran.outputs) {
                group.ended(&ran.version, output, &mut table)?;
            }
        }
    }
    Ok(table)
}

/// On this machine's kernel, by the only rung that every kernel with BTF has.
fn natively(runs: &[Run], here: &dyn Needs, alone: bool) -> Result<Table> {
    let mut table = Table::default();
    let runs = runs.iter().copied();
    let runs = runs.filter(|run| run.rung == Rung::Tracepoint && run.case.native);
    let lacking = ["root", "network namespaces", "tracing"].into_iter().find_map(|need| match here
        .look(need)
    {
        Verdict::Lacking(why) => Some(format!("needs {need}: {why}")),
        Verdict::Here | Verdict::Unknown(_) => None,
    });
    if let Some(why) = lacking {
        runs.for_each(|run| table.add(Cell::of(run, NATIVE, Ended::Skipped(why.clone()))));
        return Ok(table);
    }
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let (runs, crowded): (Vec<_>, Vec<_>) = runs.partition(|run| !run.case.smp || processors >= 4);
    for run in crowded {
        let why = format!("needs four processors: this machine has {processors}");
        table.add(Cell::of(run, NATIVE, Ended::Skipped(why)));
    }
    for group in groups(runs.into_iter(), alone) {
        group.ended(NATIVE, play(&group), &mut table)?;
    }
    Ok(table)
}

fn play(group: &Group) -> Result<JobOutput> {
    let overflow = artifacts::overflow(Arch::HOST)?;
    let tool = overflow.to_str().context("the path of overflow is no text")?;
    let mut command = Command::new(artifacts::guest_cases(Arch::HOST)?);
    let out = exec::capture_within(command.arg(group.job(tool)?), LIMIT)?;
    let code = out.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(255);
    Ok(JobOutput { stdout: out.stdout, stderr: out.stderr, code, files: Vec::new() })
}

/// Keeps what was reported, to be looked at: target/cases/KERNEL/.
fn keep(kernel: &str, run: Run, report: &Report) -> Result<()> {
    let dir: PathBuf = workspace::target().join("cases").join(kernel);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let path = dir.join(format!("{}.json", run.name()));
    fs::write(&path, serde_json::to_string_pretty(report)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use guest_cases::script;
    use overflow_core::verdict::VerdictId;

    use super::*;

    #[test]
    fn what_loads_every_program_is_played_in_every_mode() {
        let case = catalog::all().find(|case| case.name == LOADED).unwrap();
        assert!(case.modes.len() == case::MODES.len() && !case.alone && !case.smp);
    }

    #[test]
    fn every_case_is_well_formed() {
        let mut names = BTreeSet::new();
        for case in catalog::all() {
            let name = case.name;
            assert!(names.insert(name), "{name} is there twice");
            assert!(!case.shows.is_empty() && !case.modes.is_empty(), "{name}");
            let steps = script::parse(case.script).unwrap_or_else(|e| panic!("{name}: {e:#}"));
            let traced = steps
                .iter()
                .any(|step| matches!(step, script::Step::Trace | script::Step::TraceSoon));
            assert!(traced, "{name} is not traced");
            let other = |step| matches!(step, &script::Step::TraceSoon | &script::Step::Stop);
            let other = steps.iter().any(other);
            assert!(case.alone || !other && case.args.is_empty(), "{name} is not alone");
            let all = case.told.iter().chain(case.all);
            let all = all.chain(case.by_tracepoints.into_iter().flatten());
            let all = all.chain(case.all_by_tracepoints.into_iter().flatten());
            let ids = all.map(|told| told.id);
            for id in
                ids.chain(case.tolerated.iter().copied()).chain(case::TOLERATED.iter().copied())
            {
                assert!(VerdictId::parse(id).is_some(), "{name}: {id} is no verdict");
            }
        }
        assert_eq!(case::MODES.len(), Mode::value_variants().len());
    }

    #[test]
    fn only_what_a_kernel_may_lack_excuses() {
        const NEEDS: &[case::Need] = &[case::Need { what: "x", since: Some((5, 14)) }];
        static CASE: Case = Case { name: "a", needs: NEEDS, ..case::CASE };
        let run = Run { case: &CASE, mode: Mode::Default, rung: Rung::Kprobe };
        assert_eq!(run.excuse("5.10.223-1", "x"), Ok("needs x".to_owned()));
        assert!(run.excuse("5.14.1-1", "x").is_err() && run.excuse("6.1", "x").is_err());
        assert!(run.excuse("5.10.223-1", "y").is_err());
    }
}
