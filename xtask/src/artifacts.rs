//! The programs xtask runs, built as static binaries so that one build serves this machine and every
//! VM of its architecture: as released, or by the profile `quick` of Cargo.toml, which takes half the
//! time to build. The eBPF programs in them are the same.

use std::{
    env,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Result, ensure};

use crate::{arch::Arch, exec, progress, setup, workspace};

/// What was built, and for what.
static BUILT: Mutex<Vec<(Arch, &str, PathBuf)>> = Mutex::new(Vec::new());
static QUICK: AtomicBool = AtomicBool::new(false);

/// From now on programs are built by the profile `quick`: what the tests cost is building, not running.
pub fn quick() {
    QUICK.store(true, Ordering::Relaxed);
}

/// Builds `overflow` and returns its path; or takes the binary that `OVERFLOW_BINARY` names, to try
/// a released one.
pub fn overflow(arch: Arch) -> Result<PathBuf> {
    if let Some(given) = env::var_os("OVERFLOW_BINARY") {
        let path = PathBuf::from(given);
        ensure!(path.is_file(), "OVERFLOW_BINARY names {}, which is no file", path.display());
        return Ok(path);
    }
    once(arch, "overflow-user", "overflow")
}

/// Builds the init of VMs and returns its path.
pub fn guest_init(arch: Arch) -> Result<PathBuf> {
    once(arch, "guest-init", "guest-init")
}

/// Builds the program that drives and times handshakes in VMs, and returns its path.
pub fn guest_bench(arch: Arch) -> Result<PathBuf> {
    once(arch, "guest-bench", "guest-bench")
}

/// Builds the program that plays cases, and returns its path.
pub fn guest_cases(arch: Arch) -> Result<PathBuf> {
    once(arch, "guest-cases", "guest-cases")
}

/// Builds the program that writes recordings of many connections here, and returns its path.
pub fn half_open() -> Result<PathBuf> {
    build(Arch::HOST, "overflow-user", "--example", "half_open")
}

/// Asks cargo once in the life of this process, which boots many machines with the same programs.
fn once(arch: Arch, package: &str, name: &'static str) -> Result<PathBuf> {
    let mut all = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, _, path)) = all.iter().find(|(a, n, _)| (*a, *n) == (arch, name)) {
        return Ok(path.clone());
    }
    let path = build(arch, package, "--bin", name)?;
    all.push((arch, name, path.clone()));
    Ok(path)
}

fn build(arch: Arch, package: &str, kind: &str, name: &str) -> Result<PathBuf> {
    let target = arch.static_target();
    let profile = if QUICK.load(Ordering::Relaxed) { "quick" } else { "release" };
    setup::static_target(arch)?;
    progress::step(&format!("building {name}{}", arch.suffix()), || {
        exec::run(
            workspace::cargo()
                .args(["build", "--profile", profile])
                .args(["--package", package, kind, name])
                .args(["--target", target])
                .envs(arch.linker())
                // A stub left in the environment for a quick check would be a tracer that cannot
                // trace.
                .env_remove("AYA_BUILD_SKIP"),
        )
    })?;
    let dir = workspace::cargo_target()?.join(target).join(profile);
    Ok(if kind == "--example" { dir.join("examples").join(name) } else { dir.join(name) })
}
