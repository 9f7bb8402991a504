//! Builds the eBPF objects that `probe` embeds, or empty stubs when `AYA_BUILD_SKIP=1`.
//!
//! One lands at `OUT_DIR/overflow-ring`, one, for kernels without ring buffers, at
//! `OUT_DIR/overflow-queue`. They are built by the very toolchain that builds user
//! space: stable, allowed to use `-Zbuild-std=core` by `RUSTC_BOOTSTRAP=1`. aya-build reads that
//! variable from its own process, so this script runs itself once more with the variable set
//! rather than changing its own environment, which is `unsafe` since edition 2024.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya_build::{Package, Toolchain, build_ebpf};
use object::{build::elf, elf::SHT_STRTAB};

/// The objects: file, features of the eBPF crate.
const OBJECTS: [(&str, &[&str]); 2] = [("overflow-ring", &["ring"]), ("overflow-queue", &[])];

/// Set in the second run, to the toolchain that builds the object.
const INNER: &str = "OVERFLOW_EBPF_TOOLCHAIN";

fn main() -> ExitCode {
    let result = match env::var(INNER) {
        Ok(toolchain) => build(&toolchain),
        Err(_) => prepare(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            println!("cargo::error={e:#}");
            ExitCode::FAILURE
        }
    }
}

/// First run: finds the tools, or says which are missing, then starts the second run.
fn prepare() -> Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    first_page()?;
    println!("cargo::rerun-if-env-changed=AYA_BUILD_SKIP");
    println!("cargo::rerun-if-env-changed=RUSTUP_TOOLCHAIN");
    if matches!(env::var("AYA_BUILD_SKIP").as_deref(), Ok("1" | "true")) {
        let out = path_var("OUT_DIR")?;
        return OBJECTS.iter().map(|(name, _)| out.join(name)).try_for_each(|stub| {
            fs::write(&stub, []).with_context(|| format!("cannot write {}", stub.display()))
        });
    }

    let sysroot = sysroot()?;
    let core = sysroot.join("lib/rustlib/src/rust/library/core");
    ensure!(
        core.is_dir(),
        "the toolchain at {} has no rust-src, which the eBPF programs are built with: \
         run `cargo xtask setup`",
        sysroot.display()
    );

    let manifest_dir = path_var("CARGO_MANIFEST_DIR")?;
    let workspace = manifest_dir.parent().context("overflow-user lies in no workspace")?;
    let tools = workspace.join("target/tools/bin");
    let mut path = vec![tools.clone()];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let Some(linker) = path.iter().map(|dir| dir.join("bpf-linker")).find(|p| p.is_file()) else {
        bail!(
            "bpf-linker, which links the eBPF programs, is neither in {} nor in PATH: \
             run `cargo xtask setup`",
            tools.display()
        );
    };
    println!("cargo::rerun-if-changed={}", linker.display());

    let status = Command::new(env::current_exe()?)
        .env(INNER, toolchain(&sysroot)?)
        .env("RUSTC_BOOTSTRAP", "1")
        // aya-build forwards each line of the inner cargo as a warning: leave only the real ones.
        .env("CARGO_TERM_QUIET", "true")
        .env("PATH", env::join_paths(path)?)
        .status()
        .context("cannot start the eBPF build")?;
    ensure!(status.success(), "the eBPF programs did not build; the warnings above say why");
    Ok(())
}

/// The first page of the site that `OVERFLOW_SITE` names, for `overflow explain --web`; an empty file
/// where it names none, because a plain build needs no site.
fn first_page() -> Result<()> {
    println!("cargo::rerun-if-env-changed=OVERFLOW_SITE");
    let page = match env::var_os("OVERFLOW_SITE").filter(|dir| !dir.is_empty()) {
        None => Vec::new(),
        Some(dir) => {
            // A relative one is named from the workspace, where cargo is called.
            let workspace = path_var("CARGO_MANIFEST_DIR")?.join("..");
            let page = workspace.join(dir).join("index.html.gz");
            println!("cargo::rerun-if-changed={}", page.display());
            fs::read(&page).with_context(|| {
                let page = page.display();
                format!("cannot read {page}: OVERFLOW_SITE names what `cargo xtask site` made")
            })?
        }
    };
    let to = path_var("OUT_DIR")?.join("site-first-page.gz");
    fs::write(&to, page).with_context(|| format!("cannot write {}", to.display()))
}

/// Second run: the build itself.
fn build(toolchain: &str) -> Result<()> {
    let root_dir = path_var("CARGO_MANIFEST_DIR")?.join("../overflow-ebpf");
    let root_dir = root_dir.canonicalize()?;
    let root_dir = root_dir.to_str().context("the path of the workspace is not UTF-8")?;
    let out = path_var("OUT_DIR")?;
    for (name, features) in OBJECTS {
        share(&out, name)?;
        let package =
            Package { name: "overflow-ebpf", root_dir, no_default_features: true, features };
        build_ebpf([package], Toolchain::Custom(toolchain))?;
        let built = out.join("overflow");
        strip(&built)?;
        let object = out.join(name);
        fs::rename(&built, &object)
            .with_context(|| format!("cannot move the eBPF object to {}", object.display()))?;
    }
    Ok(())
}

/// Has the eBPF crate built where every profile finds it: `target/ebpf/` has a folder for each object and
/// architecture, and the link that aya-build's own folder becomes leads there.
fn share(out: &Path, name: &str) -> Result<()> {
    let Some(target) = out.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file()) else {
        return Ok(());
    };
    let arch = env::var("CARGO_CFG_TARGET_ARCH").context("cargo did not set the architecture")?;
    let shared = target.join("ebpf").join(format!("{name}-{arch}"));
    fs::create_dir_all(&shared).with_context(|| format!("cannot make {}", shared.display()))?;
    let link = out.join("aya-build");
    // What an older build script left is a folder.
    let removed = match fs::symlink_metadata(&link) {
        Ok(there) if there.is_dir() => fs::remove_dir_all(&link),
        Ok(_) => fs::remove_file(&link),
        Err(_) => Ok(()),
    };
    removed
        .and_then(|()| std::os::unix::fs::symlink(&shared, &link))
        .with_context(|| format!("cannot link {} to {}", link.display(), shared.display()))
}

/// Takes out of the object what nobody reads at run time, five sixths of it: DWARF, and the line
/// numbers for the verifier's log. They are only made because BTF is made of them.
fn strip(object: &Path) -> Result<()> {
    let data = fs::read(object).with_context(|| format!("cannot read {}", object.display()))?;
    let mut elf = elf::Builder::read(&*data).context("the eBPF object is not understood")?;
    let unread = |name: &[u8]| {
        let name = name.strip_prefix(b".rel").unwrap_or(name);
        name.starts_with(b".debug_") || name == b".BTF.ext"
    };
    for section in &mut elf.sections {
        section.delete |= unread(&section.name);
    }
    elf.delete_orphans();
    // LLVM keeps the names of sections among those of symbols; the writer wants them apart.
    let names = elf.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = SHT_STRTAB;
    names.data = elf::SectionData::SectionString;
    let mut stripped = Vec::new();
    elf.write(&mut stripped).context("the eBPF object cannot be written again")?;
    fs::write(object, stripped).with_context(|| format!("cannot write {}", object.display()))
}

/// The name for `rustup run` of the toolchain cargo is running under.
fn toolchain(sysroot: &Path) -> Result<String> {
    if let Ok(name) = env::var("RUSTUP_TOOLCHAIN") {
        return Ok(name);
    }
    let name = sysroot.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).context("cannot determine which toolchain cargo is running under")
}

/// Where the compiler that cargo uses keeps its libraries and sources.
fn sysroot() -> Result<PathBuf> {
    let rustc = env::var_os("RUSTC").context("cargo did not set RUSTC")?;
    let out = Command::new(&rustc).args(["--print", "sysroot"]).output()?;
    ensure!(out.status.success(), "`{} --print sysroot` failed", Path::new(&rustc).display());
    Ok(PathBuf::from(String::from_utf8(out.stdout)?.trim()))
}

fn path_var(name: &str) -> Result<PathBuf> {
    env::var_os(name).map(PathBuf::from).with_context(|| format!("cargo did not set {name}"))
}
