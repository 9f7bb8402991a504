//! The programs xtask runs, built as static binaries so that one build serves this machine and every
//! VM.

use std::{
    env,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Result, ensure};

use crate::{exec, progress, setup::Toolchain, workspace};

type Built = Mutex<Option<PathBuf>>;

static OVERFLOW: Built = Mutex::new(None);
static GUEST_INIT: Built = Mutex::new(None);
static GUEST_BENCH: Built = Mutex::new(None);
static GUEST_CASES: Built = Mutex::new(None);
static QUICK: AtomicBool = AtomicBool::new(false);

/// From now on programs are built by the profile `quick` of Cargo.toml: what the tests cost is building,
/// not running.
pub fn quick() {
    QUICK.store(true, Ordering::Relaxed);
}

/// Builds `overflow` and returns its path; or takes the binary that `OVERFLOW_BINARY` names, to try
/// a released one.
pub fn overflow() -> Result<PathBuf> {
    if let Some(given) = env::var_os("OVERFLOW_BINARY") {
        let path = PathBuf::from(given);
        ensure!(path.is_file(), "OVERFLOW_BINARY names {}, which is no file", path.display());
        return Ok(path);
    }
    once(&OVERFLOW, || build("overflow-user", "--bin", "overflow"))
}

/// Builds the init of VMs and returns its path.
pub fn guest_init() -> Result<PathBuf> {
    once(&GUEST_INIT, || build("guest-init", "--bin", "guest-init"))
}

/// Builds the program that drives and times handshakes in VMs, and returns its path.
pub fn guest_bench() -> Result<PathBuf> {
    once(&GUEST_BENCH, || build("guest-bench", "--bin", "guest-bench"))
}

/// Builds the program that plays cases, and returns its path.
pub fn guest_cases() -> Result<PathBuf> {
    once(&GUEST_CASES, || build("guest-cases", "--bin", "guest-cases"))
}

/// Builds the program that writes recordings of many connections, and returns its path.
pub fn half_open() -> Result<PathBuf> {
    build("overflow-user", "--example", "half_open")
}

/// Asks cargo once in the life of this process, which boots many machines with the same programs.
fn once(built: &Built, build: impl FnOnce() -> Result<PathBuf>) -> Result<PathBuf> {
    let mut built = built.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = &*built {
        return Ok(path.clone());
    }
    Ok(built.insert(build()?).clone())
}

fn build(package: &str, kind: &str, name: &str) -> Result<PathBuf> {
    let target = Toolchain::current()?.static_target();
    let profile = if QUICK.load(Ordering::Relaxed) { "quick" } else { "release" };
    progress::step(&format!("building {name}"), || {
        exec::run(
            workspace::cargo()
                .args(["build", "--profile", profile, "--package", package, kind, name])
                .args(["--target", &target])
                // A stub left in the environment for a quick check would be a tracer that cannot
                // trace.
                .env_remove("AYA_BUILD_SKIP"),
        )
    })?;
    let dir = workspace::cargo_target()?.join(target).join(profile);
    Ok(if kind == "--example" { dir.join("examples").join(name) } else { dir.join(name) })
}
