//! The programs that people would use instead, from the Debian archive, with the libraries they
//! need and nothing else.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::{libraries, rows::SCRIPT};
use crate::{
    apt::{self, Apt, Package},
    arch::Arch,
    progress, workspace,
};

/// Only there are all three recent enough.
const SUITE: &str = "sid";
const PACKAGES: &[&str] = &["bpftrace", "libbpf-tools", "pwru"];
/// What is taken from them.
const PROGRAMS: &[&str] = &["usr/bin/bpftrace", "usr/bin/pwru", "usr/sbin/tcpsynbl-libbpf"];
const SCRIPTS: &[&str] = &["usr/sbin/tcpdrop.bt", "usr/sbin/tcpsynbl.bt"];

/// The programs, ready for a VM.
pub struct Peers {
    /// `bpftrace 0.27.1-1`.
    pub versions: Vec<String>,
    /// Path in the guest without leading slash, file here.
    pub programs: Vec<(String, PathBuf)>,
}

/// Obtains them, from the cache if the archive cannot be asked.
pub fn obtain(arch: Arch) -> Result<Peers> {
    let dir = workspace::target().join(format!("vm/peers{}", arch.suffix()));
    let root = dir.join("root");
    let stamp = dir.join("versions");
    if let Err(e) = refresh(&dir, &root, &stamp, arch) {
        ensure!(stamp.is_file(), "{e:#}");
        progress::note(&format!("{e:#}; using the cached programs"));
    }
    let versions =
        fs::read_to_string(&stamp).with_context(|| format!("cannot read {}", stamp.display()))?;
    let wanted = |line: &&str| PACKAGES.iter().any(|p| line.split(' ').next() == Some(p));
    let mut programs = Vec::new();
    collect(&root, &root, &mut programs)?;
    programs.push((SCRIPT.to_owned(), workspace::root().join("xtask/src/bench/full.bt")));
    Ok(Peers { versions: versions.lines().filter(wanted).map(str::to_owned).collect(), programs })
}

fn refresh(dir: &Path, root: &Path, stamp: &Path, arch: Arch) -> Result<()> {
    let apt = Apt::open("peers", &[SUITE.to_owned()], arch)?;
    apt.update()?;
    let packages = apt.with_dependencies(PACKAGES)?;
    let line = |package: &Package| format!("{} {}\n", package.name, package.version);
    let versions: String = packages.iter().map(line).collect();
    if fs::read_to_string(stamp).is_ok_and(|had| had == versions) {
        return Ok(());
    }
    progress::step("downloading bpftrace, libbpf-tools and pwru", || {
        let unpacked = dir.join("unpacked");
        for old in [&unpacked, &root.to_path_buf()] {
            if old.exists() {
                fs::remove_dir_all(old)
                    .with_context(|| format!("cannot clear {}", old.display()))?;
            }
        }
        for package in &packages {
            let deb = apt.download(package)?;
            apt::unpack(&deb, &unpacked)?;
            fs::remove_file(&deb).with_context(|| format!("cannot remove {}", deb.display()))?;
        }
        for name in PROGRAMS.iter().chain(SCRIPTS) {
            copy(&unpacked.join(name), &root.join(name))?;
        }
        for program in PROGRAMS {
            for (name, file) in libraries::of(&unpacked.join(program), &unpacked, arch)? {
                copy(&file, &root.join(name))?;
            }
        }
        fs::remove_dir_all(&unpacked).context("cannot clear what was unpacked")?;
        fs::write(stamp, &versions).with_context(|| format!("cannot write {}", stamp.display()))
    })
}

/// Copies what a path leads to, so that no links are needed.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let dir = to.parent().context("a file at the root")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot change {}", to.display()))
}

fn collect(dir: &Path, root: &Path, files: &mut Vec<(String, PathBuf)>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, root, files)?;
        } else {
            files.push((path.strip_prefix(root)?.to_string_lossy().into_owned(), path));
        }
    }
    files.sort();
    Ok(())
}
