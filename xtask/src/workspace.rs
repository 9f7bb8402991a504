//! Where things lie: the workspace, what cargo builds, what xtask caches.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context as _, Result};

use crate::exec;

/// Root of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// What xtask itself installs and caches. Always under the root, wherever cargo builds, because
/// overflow-user's build script looks for bpf-linker here.
pub fn target() -> PathBuf {
    root().join("target")
}

/// `cargo` of the toolchain this runs under, with the workspace as its directory.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Cargo's own target directory, as configured by environment or files.
pub fn cargo_target() -> Result<&'static Path> {
    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = TARGET.get() {
        return Ok(path);
    }
    let json = exec::output(cargo().args(["metadata", "--no-deps", "--format-version=1"]))?;
    let json: serde_json::Value = serde_json::from_str(&json)?;
    let path = json["target_directory"].as_str().context("cargo metadata names no target")?;
    Ok(TARGET.get_or_init(|| PathBuf::from(path)))
}
