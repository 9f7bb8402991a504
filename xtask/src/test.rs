//! `cargo xtask test`: every check there is, counted.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    process::{ExitCode, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::{
    arch::Arch,
    artifacts, browser, cases, exec, foreign, fuzz,
    kernels::{self, Kernels},
    labtest, live, matrix,
    needs::{Here, Needs},
    no_btf, progress, setup,
    skips::{Ignored, Skip},
    storm, tidy,
    tools::{self, ETHTOOL, TSHARK},
    vm::{Options, Vm},
    workspace,
};

/// Arguments of `cargo xtask test`.
#[derive(Args)]
pub struct TestArgs {
    /// Leave out what runs in VMs
    #[arg(long)]
    no_vm: bool,
    /// Run only these steps
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<Step>,
    /// Kernels to boot, as in `cargo xtask run --vm`; those that kernels.toml marks if none
    #[arg(long, value_name = "KERNEL", value_delimiter = ',')]
    kernels: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// What no other tool checks
    Tidy,
    /// rustfmt
    Fmt,
    /// clippy on everything that runs in user space
    Clippy,
    /// clippy on the eBPF programs, for their target
    ClippyEbpf,
    /// The product's library, built without the laboratory
    Product,
    /// The pure parts of the tool, built for a target that has no system
    Wasm,
    /// Unit tests and recorded events
    Unit,
    /// Every decoder under libFuzzer for two seconds each
    Fuzz,
    /// The pages of --report in headless Chromium
    Browser,
    /// The lab on this kernel
    Native,
    /// The lab on Debian kernels in QEMU
    Vm,
    /// Live tests of what this kernel may lack, on a Debian kernel
    Live,
    /// Every scenario on a Debian kernel that hides its BTF, with `--btf FILE`
    NoBtf,
    /// Every scenario by every rung, on the oldest or the newest kernel
    Matrix,
    /// Every case of `cargo xtask cases`, by every rung, on one of two kernels and here
    Cases,
    /// The tool, built for arm64
    Arm64Build,
    /// Doctor, the lab and a confined trace on two arm64 kernels in QEMU
    Arm64Vm,
    /// Every scenario on arm64, by kprobes on a kernel without trampolines and by fentry on another
    Arm64Matrix,
    /// A small storm: are the tool's counts the kernel's, and every loss reported?
    Storm,
}

/// Segments of the small storm.
const SMALL_STORM: usize = 10_000;

/// Outcomes of single checks.
#[derive(Debug, Default)]
pub struct Checks {
    passed: usize,
    /// One entry for each failed check: what was expected, what was found.
    failures: Vec<String>,
    /// What could not run here, which is neither.
    skipped: Vec<Skip>,
}

impl Checks {
    /// Counts one check.
    pub fn check(&mut self, passed: bool, failure: impl FnOnce() -> String) {
        if passed {
            self.passed += 1;
        } else {
            self.failures.push(failure());
        }
    }

    /// Counts what cannot run here. Whoever calls this has made sure that it cannot.
    pub fn skip(&mut self, name: &str, why: &str) {
        self.skipped.push(Skip { name: name.to_owned(), why: why.to_owned() });
    }

    /// The same, each failure with where it was.
    pub fn of(mut self, place: &str) -> Self {
        self.failures.iter_mut().for_each(|failure| failure.insert_str(0, &format!("{place}: ")));
        self
    }

    /// How many failed.
    pub fn failed(&self) -> usize {
        self.failures.len()
    }

    /// What was expected and what was found, for each failed check.
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// A step that could not be carried out is one failed check.
    fn from(result: Result<Self>) -> Self {
        result.unwrap_or_else(|e| Self { failures: vec![format!("{e:#}")], ..Self::default() })
    }

    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failures.extend(other.failures);
        self.skipped.extend(other.skipped);
    }

    /// `3 passed, 0 failed, 1 skipped`.
    pub fn counts(&self) -> String {
        let Self { passed, failures, skipped } = self;
        format!("{passed} passed, {} failed, {} skipped", failures.len(), skipped.len())
    }
}

/// Runs the steps; the exit status is 0 only if no check failed.
pub fn test(args: &TestArgs) -> Result<ExitCode> {
    setup::build_tools()?;
    artifacts::quick();
    let here = Here::default();
    let chosen = |step: &&Step| args.only.is_empty() || args.only.contains(step);
    let mut all = Checks::default();
    for &step in Step::value_variants().iter().filter(chosen) {
        let name = step.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
        if args.no_vm && step.needs_vm() {
            all.skip(&name, "left out by --no-vm");
            continue;
        }
        eprintln!("==> {name}");
        let start = Instant::now();
        let mut checks = Checks::from(run(step, args, &here));
        if checks.passed + checks.failures.len() + checks.skipped.len() == 0 {
            checks.failures.push(format!("{name} checked nothing"));
        }
        for failure in &checks.failures {
            eprintln!("    FAILED {failure}");
        }
        let took = progress::seconds(start.elapsed());
        eprintln!("    {name}: {}, {took}", checks.counts());
        all.add(checks);
    }
    for skip in &all.skipped {
        println!("skipped {skip}");
    }
    println!("{}", all.counts());
    Ok(if all.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Step {
    fn needs_vm(self) -> bool {
        match self {
            Self::Vm
            | Self::Live
            | Self::NoBtf
            | Self::Matrix
            | Self::Cases
            | Self::Arm64Vm
            | Self::Arm64Matrix
            | Self::Storm => true,
            Self::Tidy
            | Self::Fmt
            | Self::Clippy
            | Self::ClippyEbpf
            | Self::Product
            | Self::Wasm
            | Self::Unit
            | Self::Fuzz
            | Self::Browser
            | Self::Arm64Build
            | Self::Native => false,
        }
    }
}

fn run(step: Step, args: &TestArgs, here: &dyn Needs) -> Result<Checks> {
    match step {
        Step::Tidy => tidy::check(workspace::root()),
        Step::Fmt => Ok(both(|manifest| {
            lint(workspace::cargo().args(["fmt", "--all", "--check"]).args(manifest))
        })),
        Step::Clippy => Ok(both(clippy)),
        Step::ClippyEbpf => clippy_ebpf(),
        Step::Product => product(),
        Step::Wasm => wasm(),
        Step::Unit => unit(here),
        Step::Fuzz => fuzz::check(),
        Step::Browser => browser::check(here),
        Step::Native => labtest::native(&artifacts::overflow(Arch::HOST)?, here),
        Step::Vm => vms(args),
        Step::Live => live::check(kernel(args)),
        Step::NoBtf => no_btf::check(kernel(args), Arch::HOST),
        Step::Matrix => matrix::subset(&args.kernels, 2),
        Step::Cases => cases::subset(&args.kernels, 2, here),
        Step::Arm64Build => foreign::build(),
        Step::Arm64Vm => foreign::vms(),
        Step::Arm64Matrix => matrix::foreign_subset(2),
        Step::Storm => storm::check((kernel(args), Arch::HOST), SMALL_STORM),
    }
}

/// The kernel for what one kernel is enough for.
fn kernel(args: &TestArgs) -> &str {
    args.kernels.first().map_or(kernels::DEFAULT, String::as_str)
}

/// A lint as a whole is one check.
fn lint(command: &mut std::process::Command) -> Result<Checks> {
    exec::run(command).map(|()| Checks { passed: 1, ..Checks::default() })
}

/// Of this workspace, and of the fuzz targets', which is one of its own.
fn both(check: impl Fn(&[&str]) -> Result<Checks>) -> Checks {
    let mut checks = Checks::from(check(&[]));
    checks.add(Checks::from(check(&["--manifest-path", "fuzz/Cargo.toml"])));
    checks
}

/// On everything that runs in user space.
fn clippy(manifest: &[&str]) -> Result<Checks> {
    let mut command = workspace::cargo();
    command.args(["clippy", "--quiet", "--keep-going", "--workspace", "--all-targets"]);
    if manifest.is_empty() {
        command.arg("--exclude=overflow-ebpf");
    } else {
        // As they are fuzzed.
        command.env("RUSTFLAGS", "--cfg fuzzing");
        command.arg("--target-dir").arg(workspace::cargo_target()?.join("clippy-fuzz"));
    }
    lint(command.args(manifest).args(["--", "-Dwarnings"]))
}

/// With the flags of overflow-user's build script, in a target directory of its own: RUSTC_BOOTSTRAP
/// and RUSTFLAGS would make cargo build everything anew otherwise.
fn clippy_ebpf() -> Result<Checks> {
    let flags = format!("--cfg=bpf_target_arch=\"{}\"\x1f-Cdebuginfo=2", env::consts::ARCH);
    lint(
        workspace::cargo()
            .args(["clippy", "--quiet", "--package", "overflow-ebpf", "--bins", "--lib"])
            .args(["--release", "--target", "bpfel-unknown-none", "-Zbuild-std=core"])
            .arg("--target-dir")
            .arg(workspace::cargo_target()?.join("clippy-ebpf"))
            .args(["--", "-Dwarnings"])
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags),
    )
}

/// Only the command line uses overflow-lab: without the feature `cli` it is no dependency at all.
fn product() -> Result<Checks> {
    lint(
        workspace::cargo()
            .args(["check", "--quiet", "--package", "overflow-user"])
            .args(["--lib", "--no-default-features"])
            .env("AYA_BUILD_SKIP", "1"),
    )
}

/// overflow-core, overflow-report and overflow-web take no input but their arguments: they build where there is no
/// kernel to ask.
fn wasm() -> Result<Checks> {
    lint(
        workspace::cargo()
            .args(["build", "--quiet", "--package", "overflow-core"])
            .args(["--package", "overflow-report", "--package", "overflow-web"])
            // As the site has it, so that it is built once.
            .args(["--profile", "wasm", "--target", setup::PURE_TARGET]),
    )
}

/// Each Rust test is a check; a crate whose tests do not compile is one failed check.
fn unit(here: &dyn Needs) -> Result<Checks> {
    // Where it cannot be installed, the test that needs it is skipped, and named.
    if let Err(why) = tools::ensure(&[TSHARK, ETHTOOL]) {
        progress::note(&format!("{why:#}"));
    }
    let mut child = workspace::cargo()
        .args(["test", "--workspace", "--exclude=overflow-ebpf", "--no-fail-fast"])
        // A tool built without its eBPF programs cannot trace, and what needs that would be skipped.
        .env_remove("AYA_BUILD_SKIP")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let stdout = child.stdout.take().context("cargo has no standard output")?;
    let mut log = String::new();
    for line in BufReader::new(stdout).lines() {
        log += &line.context("cannot read the output of cargo test")?;
        log.push('\n');
    }
    let status = child.wait()?;
    let path = workspace::target().join("test");
    fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    let path = path.join("unit.log");
    fs::write(&path, &log).with_context(|| format!("cannot write {}", path.display()))?;
    let mut checks = count_tests(&log, here);
    if !status.success() {
        eprint!("{}", failure_details(&log));
        if checks.failures.is_empty() {
            checks.failures.push(format!("cargo test: {status}; its output above says why"));
        }
    }
    Ok(checks)
}

/// Counts libtest's lines: `test a::b ... FAILED`, `test a::c ... ignored`,
/// `test result: ok. 3 passed; 1 failed; 1 ignored; …`.
pub fn count_tests(log: &str, here: &dyn Needs) -> Checks {
    let mut checks = Checks::default();
    let mut failed = log
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
        .map(|name| name.trim().to_owned());
    let mut ignored = log.lines().filter_map(Ignored::parse);
    for result in log.lines().filter_map(|line| line.strip_prefix("test result: ")) {
        checks.passed += number_before(result, " passed");
        // Tests that die without a line of their own still count in the result.
        for _ in 0..number_before(result, " failed") {
            let name = failed.next();
            checks.failures.push(name.unwrap_or_else(|| "a test that died unnamed".to_owned()));
        }
        for _ in 0..number_before(result, " ignored") {
            match ignored.next().map(|ignored| ignored.judge(here)) {
                Some(Ok(skip)) => checks.skipped.push(skip),
                Some(Err(why)) => checks.failures.push(why),
                None => checks.failures.push("a test was skipped without a name".to_owned()),
            }
        }
    }
    checks
}

fn number_before(text: &str, word: &str) -> usize {
    let before = text.split(word).next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// What libtest prints between `failures:` and the result line.
fn failure_details(log: &str) -> String {
    let mut inside = false;
    let mut text = String::new();
    for line in log.lines() {
        inside = (inside || line == "failures:") && !line.starts_with("test result: ");
        if inside {
            text += line;
            text.push('\n');
        }
    }
    text
}

/// All kernels at once: a machine uses one processor, and mostly waits.
fn vms(args: &TestArgs) -> Result<Checks> {
    let kernels = if args.kernels.is_empty() {
        let tested = Kernels::load()?.series.into_iter().filter(|series| series.test);
        tested.map(|series| series.name).collect()
    } else {
        args.kernels.clone()
    };
    // One after the other, because they share what they build and download.
    let options = || Options { label: Some("test".into()), ..Options::default() };
    let vms: Vec<_> = kernels.iter().map(|k| (k, Vm::new(k, options()))).collect();
    let mut all = Checks::default();
    thread::scope(|scope| {
        let running: Vec<_> = vms
            .into_iter()
            .map(|(kernel, vm)| {
                (kernel, scope.spawn(move || Checks::from(vm.and_then(|vm| labtest::vm(&vm)))))
            })
            .collect();
        for (kernel, thread) in running {
            let checks = thread.join().unwrap_or_else(|_| Checks {
                failures: vec!["the check itself panicked".to_owned()],
                ..Checks::default()
            });
            progress::note(&format!("kernel {kernel}: {}", checks.counts()));
            all.add(checks);
        }
    });
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::needs::Verdict;

    /// A machine without root; whatever else is asked for is here.
    struct Unprivileged;

    impl Needs for Unprivileged {
        fn look(&self, need: &str) -> Verdict {
            if need == "root" {
                Verdict::Lacking("this is user 1000".into())
            } else {
                Verdict::Here
            }
        }
    }

    #[test]
    fn libtest_output_is_summed_over_crates() {
        let log = "running 2 tests\ntest a::x ... ok\ntest a::y ... FAILED\n\nfailures:\n\n\
                   ---- a::y stdout ----\nboom\n\nfailures:\n    a::y\n\n\
                   test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured\n\n\
                   running 3 tests\ntest result: ok. 3 passed; 0 failed; 0 ignored\n";
        let checks = count_tests(log, &Unprivileged);
        assert_eq!(checks.passed, 4);
        assert_eq!(checks.failures, ["a::y"]);
        let details = failure_details(log);
        assert!(details.contains("boom") && !details.contains("test result"), "{details}");
    }

    #[test]
    fn skipped_tests_are_counted_and_judged() {
        let log = "running 3 tests\ntest [needs root]    a ... ignored\ntest                 b ... ok\n\
                   test [needs tracing] c ... ignored\n\n\
                   test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured\n\n\
                   running 2 tests\ntest d ... ignored, slow\n\n\
                   test result: ok. 0 passed; 0 failed; 2 ignored; 0 measured\n";
        let checks = count_tests(log, &Unprivileged);
        assert_eq!(checks.counts(), "1 passed, 3 failed, 1 skipped");
        assert_eq!(checks.skipped[0].to_string(), "a: needs root: this is user 1000");
        let [could, slow, unnamed] = &checks.failures[..] else { panic!("{checks:?}") };
        assert!(could.starts_with("c was skipped because it needs tracing, which is here"));
        assert!(slow.starts_with("d was skipped without naming what it needs (slow)"));
        assert_eq!(unnamed, "a test was skipped without a name");
    }

    #[test]
    fn a_step_that_cannot_run_is_a_failure() {
        let checks = Checks::from(Err(anyhow::anyhow!("no QEMU")));
        assert_eq!(checks.counts(), "0 passed, 1 failed, 0 skipped");
    }
}
