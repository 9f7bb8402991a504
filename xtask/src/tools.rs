//! Programs of the system that a verb needs: found, or installed, or asked for in one sentence.

use std::{env, path::PathBuf};

use anyhow::{Result, bail};

use crate::{packages, progress};

/// A program and the Debian package that brings it.
#[derive(Clone, Copy)]
pub struct Tool {
    program: &'static str,
    package: &'static str,
}

impl Tool {
    /// A program, and the packages that bring it, separated by spaces.
    pub const fn new(program: &'static str, package: &'static str) -> Self {
        Self { program, package }
    }

    /// The name to start it by.
    pub const fn program(self) -> &'static str {
        self.program
    }
}

/// Unpacks kernel packages.
pub const DPKG_DEB: Tool = Tool::new("dpkg-deb", "dpkg");
/// Finds, fetches and verifies kernel packages.
pub const APT_GET: Tool = Tool::new("apt-get", "apt");
/// Unpacks kernels and their modules.
pub const XZ: Tool = Tool::new("xz", "xz-utils");
/// Unpacks kernels and their modules.
pub const ZSTD: Tool = Tool::new("zstd", "zstd");
/// Unpacks kernels.
pub const GZIP: Tool = Tool::new("gzip", "gzip");
/// Unpacks kernels.
pub const LZ4: Tool = Tool::new("lz4", "lz4");
/// Reads captures: a test asks it what the annotated capture says.
pub const TSHARK: Tool = Tool::new("tshark", "tshark");
/// Sets what a device does with segments: a test has it hand them on in lists.
pub const ETHTOOL: Tool = Tool::new("ethtool", "ethtool");
/// Draws the pages of `--report`.
pub const CHROMIUM: Tool = Tool::new("chromium", "chromium");
/// Reads BTF.
pub const BPFTOOL: Tool = Tool::new("bpftool", "bpftool");
/// Links host programs; rustc calls it.
pub const CC: Tool = Tool::new("cc", "gcc libc6-dev");

/// Makes sure that the tools are there: installs what is missing if this user may, else says what
/// to type.
pub fn ensure(tools: &[Tool]) -> Result<()> {
    let missing: Vec<_> = tools.iter().filter(|tool| find(tool.program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs = missing.iter().map(|t| t.program).collect::<Vec<_>>().join(", ");
    let packages: Vec<_> = missing.iter().flat_map(|t| t.package.split(' ')).collect();
    let command = packages::command(&packages);
    if find("apt-get").is_none() {
        bail!("{programs} not found: install it with this system's package manager");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("{programs} not found: run `sudo {command}`");
    }
    progress::step(&format!("installing {} for {programs}", packages.join(", ")), || {
        packages::install(&packages)
    })?;
    for tool in missing {
        if find(tool.program).is_none() {
            bail!("{} is still not found after `{command}`", tool.program);
        }
    }
    Ok(())
}

/// Where a program lies, by PATH and the places of system programs.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}
