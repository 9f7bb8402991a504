//! Live tests of overflow-user in a VM: those whose need Debian's kernels have and this one may not.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use guest_init::plan::Job;

use crate::{
    exec,
    needs::{Needs, Verdict},
    progress,
    test::{Checks, count_tests},
    vm::{Options, Vm},
    workspace,
};

/// Which tests: the beginning of their names.
const TESTS: &str = "delay::";
/// Programs that they start, besides overflow.
const PROGRAMS: [&str; 2] = ["ip", "tc"];
/// What they need of the kernel besides what the lab does.
const MODULES: &[&str] = &["sch_prio", "cls_u32"];

/// A machine that has all that is needed: what is skipped there has failed.
struct All;

impl Needs for All {
    fn look(&self, _need: &str) -> Verdict {
        Verdict::Here
    }
}

/// Runs them on a Debian kernel; without the programs they are skipped, and named.
pub fn check(kernel: &str) -> Result<Checks> {
    let mut checks = Checks::default();
    let mut programs: BTreeMap<String, PathBuf> = BTreeMap::new();
    for name in PROGRAMS {
        let Some(path) = in_path(name) else {
            checks.skip(&format!("live tests {TESTS}*"), &format!("{name} is not in PATH"));
            return Ok(checks);
        };
        with_libraries(&format!("bin/{name}"), &path, &mut programs)?;
    }
    let (tests, overflow) = build()?;
    with_libraries("bin/live", &tests, &mut programs)?;
    // The tests know where cargo put it.
    let place = overflow.display().to_string();
    with_libraries(place.trim_start_matches('/'), &overflow, &mut programs)?;
    let options = Options {
        label: Some("live".into()),
        memory: 1024,
        modules: MODULES,
        programs: programs.into_iter().collect(),
        ..Options::default()
    };
    let vm = Vm::new(kernel, options)?;
    progress::note(&format!("booting {} for live tests {TESTS}*", vm.image().release));
    let argv = ["live", TESTS].map(str::to_owned).to_vec();
    let outputs = vm.run(&[Job { argv, ..Job::default() }], &mut |_, _, _| false)?;
    let output = outputs.into_iter().next().context("the VM ran no test")?;
    let log = String::from_utf8_lossy(&output.stdout);
    let counted = count_tests(&log, &All);
    if counted.failed() > 0 || output.code != 0 {
        eprint!("{log}{}", String::from_utf8_lossy(&output.stderr));
    }
    checks.add(counted);
    checks.check(output.code == 0, || {
        format!("live tests {TESTS}*: {}", exec::complaint(&output.stderr))
    });
    Ok(checks)
}

/// Builds the tests as `cargo test` does: their program, and the overflow that they start.
fn build() -> Result<(PathBuf, PathBuf)> {
    let output = workspace::cargo()
        .args(["test", "--package", "overflow-user", "--test", "live", "--no-run"])
        .args(["--message-format", "json"])
        .env_remove("AYA_BUILD_SKIP")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "the live tests do not build");
    let text = String::from_utf8_lossy(&output.stdout);
    let built = |name: &str| {
        let artifacts = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        let mut named = artifacts.filter(|line: &serde_json::Value| line["target"]["name"] == name);
        let file = named.find_map(|line| line["executable"].as_str().map(PathBuf::from));
        file.with_context(|| format!("cargo names no program {name}"))
    };
    Ok((built("live")?, built("overflow")?))
}

/// A program where it is to be, and the libraries that it is linked to where they are here.
fn with_libraries(
    name: &str,
    program: &Path,
    programs: &mut BTreeMap<String, PathBuf>,
) -> Result<()> {
    programs.insert(name.to_owned(), program.to_owned());
    for library in libraries(&exec::output(Command::new("ldd").arg(program))?) {
        programs.insert(library.trim_start_matches('/').to_owned(), PathBuf::from(library));
    }
    Ok(())
}

/// The files that ldd names: `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, and the loader alone.
fn libraries(ldd: &str) -> Vec<&str> {
    let words = ldd.lines().map(|line| line.split_once("=> ").map_or(line, |(_, path)| path));
    let paths = words.filter_map(|line| line.split_whitespace().next());
    paths.filter(|path| path.starts_with('/')).collect()
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ldd_names_is_found() {
        let ldd = "\tlinux-vdso.so.1 (0x00007f25)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 \
                   (0x00007f26)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f27)\n";
        let files = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(libraries(ldd), files);
        assert!(libraries("\tstatically linked\n").is_empty());
    }
}
