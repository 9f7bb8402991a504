//! A kernel on disk: resolved, downloaded, verified, unpacked, once.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    apt::{self, Apt, Package},
    arch::Arch,
    kernels::{Kernels, Series},
    progress, workspace,
};

/// Further packages that newer kernels are split into, beside `linux-image-RELEASE`.
const PARTS: &[&str] = &["linux-base-", "linux-binary-", "linux-modules-"];
const IMAGE: &str = "linux-image-";

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub struct KernelImage {
    /// The package's version: `6.12.117-1`.
    pub version: String,
    /// `uname -r`: `6.12.117+deb13-cloud-amd64`.
    pub release: String,
    root: PathBuf,
}

impl KernelImage {
    /// The kernel a request names, from the cache or from the archive.
    pub fn obtain(request: &str, arch: Arch) -> Result<Self> {
        let kernels = Kernels::load()?;
        let series = kernels.find(request)?;
        series.built_for(arch)?;
        let from_archive = || {
            let apt = Apt::open(&series.name, &series.suites, arch)?;
            let package = resolve(&apt, series, request, arch)?;
            Self::from_package(&apt, &package)
        };
        match from_archive() {
            Ok(image) => Ok(image),
            Err(e) => {
                let Some(cached) = Self::newest_cached(series, request, arch)? else {
                    return Err(e);
                };
                progress::note(&format!("{e:#}; using the cached kernel {}", cached.name()));
                Ok(cached)
            }
        }
    }

    /// What tells it apart from all others: the package's version, with architecture and size of pages
    /// (`6.12.117-1-arm64-16k`) where it is not amd64.
    pub fn name(&self) -> String {
        let flavour = self.release.rfind(Arch::Arm64.suffix());
        format!("{}{}", self.version, flavour.map_or("", |at| &self.release[at..]))
    }

    /// The kernel as it is booted: a bzImage of x86, or an Image of arm64.
    pub fn vmlinuz(&self) -> Result<PathBuf> {
        self.boot_file("vmlinuz")
    }

    /// The configuration it was built with.
    pub fn config(&self) -> Result<PathBuf> {
        self.boot_file("config")
    }

    /// The directory that is `/lib/modules/RELEASE` on a machine running this kernel.
    pub fn modules(&self) -> PathBuf {
        let places =
            ["lib/modules", "usr/lib/modules"].map(|dir| self.root.join(dir).join(&self.release));
        let [old, new] = places;
        if old.is_dir() { old } else { new }
    }

    /// In `/boot`, or beside the modules in packages since 7.3.
    fn boot_file(&self, name: &str) -> Result<PathBuf> {
        let places = [
            self.root.join("boot").join(format!("{name}-{}", self.release)),
            self.modules().join(name),
        ];
        let found = places.into_iter().find(|path| path.is_file());
        found.with_context(|| format!("the package of kernel {} holds no {name}", self.version))
    }

    /// A package's place in the cache.
    fn cached(package: Package) -> Self {
        let release = package.name.trim_start_matches(IMAGE).to_owned();
        let root = cache().join(format!("{release}_{}", package.version));
        Self { version: package.version, release, root }
    }

    fn from_package(apt: &Apt, package: &Package) -> Result<Self> {
        let image = Self::cached(package.clone());
        if image.root.is_dir() {
            return Ok(image);
        }
        progress::step(&format!("downloading kernel {}", image.name()), || {
            // Unpacked beside its place and then moved there, so that it is either whole or absent.
            let partial = cache().join(format!(".{}.{}", image.release, std::process::id()));
            let _ = fs::remove_dir_all(&partial);
            let mut packages = vec![package.clone()];
            for part in PARTS {
                let same = apt.packages(&format!("{part}{}", image.release))?;
                packages.extend(same.into_iter().filter(|p| p.version == package.version));
            }
            for package in &packages {
                let deb = apt.download(package)?;
                apt::unpack(&deb, &partial)?;
                fs::remove_file(&deb)
                    .with_context(|| format!("cannot remove {}", deb.display()))?;
            }
            match fs::rename(&partial, &image.root) {
                // Another xtask was faster.
                Err(_) if image.root.is_dir() => {
                    fs::remove_dir_all(&partial).context("cannot remove the second copy")
                }
                other => other.with_context(|| format!("cannot move to {}", image.root.display())),
            }
        })?;
        Ok(image)
    }

    fn newest_cached(series: &Series, request: &str, arch: Arch) -> Result<Option<Self>> {
        let Ok(entries) = fs::read_dir(cache()) else { return Ok(None) };
        let packages = entries.filter_map(Result::ok).filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (release, version) = name.split_once('_')?;
            let package = Package { name: format!("{IMAGE}{release}"), version: version.into() };
            (series.matches(&package.name, arch) && series.accepts(request, version))
                .then_some(package)
        });
        Ok(apt::newest(packages.collect())?.map(Self::cached))
    }
}

/// A static busybox, for interactive shells.
pub fn busybox(arch: Arch) -> Result<PathBuf> {
    let dir = workspace::target().join(format!("vm/busybox{}", arch.suffix()));
    let path = dir.join("bin/busybox");
    if path.is_file() {
        return Ok(path);
    }
    let kernels = Kernels::load()?;
    let apt = Apt::open("busybox", &[kernels.busybox], arch)?;
    apt.update()?;
    let package = apt::newest(apt.packages("busybox-static")?)?
        .context("the Debian archive no longer holds busybox-static")?;
    progress::step("downloading a static busybox for the shell", || {
        let unpacked = dir.join("deb");
        let deb = apt.download(&package)?;
        apt::unpack(&deb, &unpacked)?;
        let places = ["bin/busybox", "usr/bin/busybox"].map(|at| unpacked.join(at));
        let found = places.into_iter().find(|p| p.is_file());
        let found = found.context("the package busybox-static holds no busybox")?;
        let dir = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        fs::copy(&found, &path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.clone())
    })
}

fn resolve(apt: &Apt, series: &Series, request: &str, arch: Arch) -> Result<Package> {
    apt.update()?;
    let packages = apt.packages(series.prefix())?;
    let matching: Vec<_> = packages.into_iter().filter(|p| series.matches(&p.name, arch)).collect();
    let mut known: Vec<_> = matching.iter().map(|p| p.version.clone()).collect();
    known.sort();
    let accepted = matching.into_iter().filter(|p| series.accepts(request, &p.version)).collect();
    let Some(package) = apt::newest(accepted)? else {
        if known.is_empty() {
            bail!(
                "the Debian archive no longer holds a kernel {} in {}: name another suite in \
                 xtask/kernels.toml",
                series.name,
                series.suites.join(", ")
            );
        }
        bail!(
            "the Debian archive holds no kernel {request} in {}; it has {}",
            series.suites.join(", "),
            known.join(", ")
        );
    };
    Ok(package)
}

fn cache() -> PathBuf {
    workspace::target().join("vm/kernels")
}
