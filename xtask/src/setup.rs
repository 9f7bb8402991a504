//! What building needs and a fresh machine lacks: rust-src, two targets, bpf-linker.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    arch::Arch,
    exec, lock, progress,
    tools::{self, CC},
    workspace,
};

/// bpf-linker releases known to work with the aya this workspace uses.
const BPF_LINKER: &str = "^0.13";

/// How often rustup is tried again.
const RUSTUP_RETRIES: usize = 3;

/// The target that proves that overflow-core asks no system for anything.
pub const PURE_TARGET: &str = "wasm32-unknown-unknown";
/// What another target is needed for.
const STATIC: &str = "for the static binary";

/// Installs everything a build needs; does nothing, silently, where it is there already.
pub fn build_tools() -> Result<()> {
    tools::ensure(&[CC])?;
    let toolchain = Toolchain::current()?;
    toolchain.ensure_rust_src()?;
    toolchain.ensure_target(Arch::HOST.static_target(), STATIC)?;
    toolchain.ensure_target(PURE_TARGET, "to check that overflow-core is pure")?;
    toolchain.ensure_bpf_linker()
}

/// Installs what a static binary for `arch` is linked with.
pub fn static_target(arch: Arch) -> Result<()> {
    Toolchain::current()?.ensure_target(arch.static_target(), STATIC)
}

/// Installs what the model for browsers is built for.
pub fn pure_target() -> Result<()> {
    Toolchain::current()?.ensure_target(PURE_TARGET, "for browsers")
}

/// The toolchain cargo runs under.
pub struct Toolchain {
    sysroot: PathBuf,
    llvm_major: String,
    /// Changes whenever the compiler and so its LLVM may have.
    identity: String,
}

impl Toolchain {
    /// Asks rustc.
    pub fn current() -> Result<Self> {
        let identity = exec::output(Command::new("rustc").arg("-vV"))?;
        let sysroot = exec::output(Command::new("rustc").args(["--print", "sysroot"]))?;
        let field = |name: &str| {
            let line = identity.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim).with_context(|| format!("`rustc -vV` has no line {name:?}"))
        };
        let llvm = field("LLVM version:")?;
        Ok(Self {
            sysroot: PathBuf::from(sysroot.trim()),
            llvm_major: llvm.split('.').next().unwrap_or(llvm).to_owned(),
            identity,
        })
    }

    fn ensure_rust_src(&self) -> Result<()> {
        let place = self.sysroot.join("lib/rustlib/src/rust/library/core");
        let why = "rust-src, from which core is built for the eBPF programs";
        self.rustup(&["component", "add", "rust-src"], &place, why)
    }

    fn ensure_target(&self, target: &str, what_for: &str) -> Result<()> {
        let place = self.sysroot.join("lib/rustlib").join(target);
        self.rustup(&["target", "add", target], &place, &format!("the target {target}, {what_for}"))
    }

    /// Adds what makes `place`, if it is not there.
    fn rustup(&self, args: &[&str], place: &Path, why: &str) -> Result<()> {
        if place.is_dir() {
            return Ok(());
        }
        if tools::find("rustup").is_none() {
            bail!(
                "the toolchain at {} lacks {why}, and there is no rustup to add it: \
                 install it the way the toolchain was installed",
                self.sysroot.display()
            );
        }
        progress::step(&format!("installing {why}"), || {
            // Of two rustups that add the same at the same time one fails (seen with 1.29): xtasks
            // take turns, and for any other it is tried again.
            let home = exec::output(Command::new("rustup").args(["show", "home"]))?;
            let lock = Path::new(home.trim()).join("overflow-xtask.lock");
            let _lock = lock::wait(&lock, "rustup")?;
            let add = || exec::run(Command::new("rustup").args(args));
            for _ in 0..RUSTUP_RETRIES {
                if add().is_ok() {
                    return Ok(());
                }
                progress::note("trying again, because another rustup may have been in the way");
                thread::sleep(Duration::from_secs(5));
            }
            add()
        })
    }

    /// Builds bpf-linker against the LLVM inside the toolchain: the linker must read the bitcode
    /// of exactly this compiler, and no other LLVM needs to be installed.
    fn ensure_bpf_linker(&self) -> Result<()> {
        let root = workspace::target().join("tools");
        let stamp = root.join("bpf-linker.stamp");
        let wanted = format!("bpf-linker {BPF_LINKER}\n{}", self.identity);
        let linker = root.join("bin/bpf-linker");
        let fresh = linker.is_file() && fs::read_to_string(&stamp).is_ok_and(|s| s == wanted);
        if fresh {
            return Ok(());
        }
        let lib = self.sysroot.join("lib");
        let llvm = self.llvm_library()?;
        let what = format!("building bpf-linker against the toolchain's LLVM {}", self.llvm_major);
        progress::step(&what, || {
            let (llvm, lib) = (llvm.display(), lib.display());
            exec::run(
                workspace::cargo()
                    .args(["install", "bpf-linker", "--version", BPF_LINKER, "--locked"])
                    .args(["--force", "--no-default-features", "--features"])
                    .arg(format!("llvm-{},no-llvm-linking", self.llvm_major))
                    .arg("--root")
                    .arg(&root)
                    .env("CARGO_TARGET_DIR", workspace::target().join("bpf-linker"))
                    .env("CARGO_ENCODED_RUSTFLAGS", {
                        // Separated by 0x1f, so that the path may hold spaces.
                        format!("-Clink-arg={llvm}\x1f-Clink-arg=-Wl,-rpath,{lib}")
                    }),
            )?;
            exec::output(Command::new(&linker).arg("--version"))
                .context("the bpf-linker just built does not run")?;
            fs::write(&stamp, &wanted).with_context(|| format!("cannot write {}", stamp.display()))
        })
    }

    fn llvm_library(&self) -> Result<PathBuf> {
        let lib = self.sysroot.join("lib");
        let prefix = format!("libLLVM-{}", self.llvm_major);
        let entries =
            fs::read_dir(&lib).with_context(|| format!("cannot read {}", lib.display()))?;
        entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with(&prefix) && name.ends_with(".so")
            })
            .with_context(|| {
                format!(
                    "the toolchain at {} brings no {prefix}*.so to link bpf-linker with: \
                     use a toolchain installed by rustup",
                    self.sysroot.display()
                )
            })
    }
}
