//! `kernels.toml` as data: which series there are, where their packages are looked for.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::arch::Arch;

/// The series taken if the user names none.
pub const DEFAULT: &str = "6.12";

/// What stands for the architecture in the name of a package.
const ARCH: &str = "{arch}";

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernels {
    /// Modules the lab needs, by `modprobe` name, with the option that builds them in.
    pub modules: BTreeMap<String, String>,
    /// The suite that the shell's busybox-static comes from.
    pub busybox: String,
    /// Every series, oldest first.
    #[serde(rename = "kernel")]
    pub series: Vec<Series>,
}

/// One series of kernels.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// Leading numbers of the version: `6.12`.
    #[serde(rename = "series")]
    pub name: String,
    /// Debian suites that hold or held it.
    pub suites: Vec<String>,
    package: String,
    /// Whether `cargo xtask test` boots it.
    #[serde(default)]
    pub test: bool,
}

impl Kernels {
    /// The file as it was when xtask was built.
    pub fn load() -> Result<Self> {
        toml::from_str(include_str!("../kernels.toml")).context("cannot parse xtask/kernels.toml")
    }

    /// The series that a request names: a series itself (`6.12`) or one of its versions
    /// (`6.12.43`, `5.10.223-1`).
    pub fn find(&self, request: &str) -> Result<&Series> {
        let found = self.series.iter().find(|series| series.covers(request));
        let Some(series) = found else {
            let known: Vec<_> = self.series.iter().map(|s| s.name.as_str()).collect();
            bail!(
                "no kernel series for {request:?}; known are {}: \
                 name one, or a version of one such as 5.10.223-1, or add it to \
                 xtask/kernels.toml",
                known.join(", ")
            );
        };
        Ok(series)
    }
}

impl Series {
    /// Whether `package` is an image of this series for `arch`.
    pub fn matches(&self, package: &str, arch: Arch) -> bool {
        let wanted = self.package.replace(ARCH, arch.debian());
        match wanted.split_once('*') {
            Some((head, tail)) => {
                package.len() >= head.len() + tail.len()
                    && package.starts_with(head)
                    && package.ends_with(tail)
            }
            None => package == wanted,
        }
    }

    /// What the names of all its images begin with.
    pub fn prefix(&self) -> &str {
        self.package.split(['*', '{']).next().unwrap_or_default()
    }

    /// Fails if no images of it are built for `arch`.
    pub fn built_for(&self, arch: Arch) -> Result<()> {
        if self.package.contains(ARCH) || self.package.contains(&format!("-{}", arch.debian())) {
            return Ok(());
        }
        bail!(
            "Debian builds no kernel {} for {}: see its package in xtask/kernels.toml",
            self.name,
            arch.debian()
        )
    }

    /// Whether a package version (`5.10.223-1`, `7.3.4-1~bpo13+1`) is what `request` asks for: any
    /// of the series, or exactly that version, with or without Debian's revision.
    pub fn accepts(&self, request: &str, version: &str) -> bool {
        request == self.name
            || version
                .strip_prefix(request)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '~', '+']))
    }

    fn covers(&self, request: &str) -> bool {
        request
            .strip_prefix(&self.name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// The first two numbers of a kernel's version, if that is how it is named: `6.12.118-1` → (6, 12).
pub fn version(kernel: &str) -> Option<(u32, u32)> {
    let mut numbers = kernel.split(['.', '-', '+']).map(str::parse);
    numbers.next().and_then(Result::ok).zip(numbers.next().and_then(Result::ok))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_parses_and_holds_the_default() {
        let kernels = Kernels::load().unwrap();
        assert_eq!(kernels.find(DEFAULT).unwrap().name, DEFAULT);
        assert!(kernels.series.iter().any(|s| s.test));
    }

    #[test]
    fn requests_find_their_series() {
        let kernels = Kernels::load().unwrap();
        let name = |request: &str| kernels.find(request).ok().map(|s| s.name.clone());
        assert_eq!(name("6.1").as_deref(), Some("6.1"));
        assert_eq!(name("6.12.43").as_deref(), Some("6.12"));
        assert_eq!(name("5.10.223-1").as_deref(), Some("5.10"));
        assert_eq!(name("6.12-16k").as_deref(), Some("6.12-16k"));
        assert_eq!(name("6"), None);
        assert_eq!(name("6.100"), None);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("6.13"), Some((6, 13)));
        assert_eq!(version("6.12-16k"), Some((6, 12)));
        assert_eq!(version("6.12.118+deb13-cloud-amd64"), Some((6, 12)));
        assert_eq!(version("new"), None);
        assert!(version("6.9") < version("6.13"));
    }

    #[test]
    fn pages_of_16k_are_arm64s_alone() {
        let kernels = Kernels::load().unwrap();
        let series = kernels.find("6.12-16k").unwrap();
        assert!(series.matches("linux-image-6.12.118+deb13-arm64-16k", Arch::Arm64));
        assert!(!series.matches("linux-image-6.12.118+deb13-cloud-arm64", Arch::Arm64));
        assert!(series.built_for(Arch::Arm64).is_ok());
        assert!(series.built_for(Arch::Amd64).is_err());
        assert!(kernels.find("6.12").unwrap().built_for(Arch::Amd64).is_ok());
    }

    #[test]
    fn packages_and_versions_are_matched_exactly() {
        let kernels = Kernels::load().unwrap();
        let series = kernels.find("6.1").unwrap();
        assert!(series.matches("linux-image-6.1.0-56-cloud-amd64", Arch::Amd64));
        assert!(!series.matches("linux-image-6.1.0-56-cloud-amd64-unsigned", Arch::Amd64));
        assert!(!series.matches("linux-image-6.12.1-cloud-amd64", Arch::Amd64));
        assert!(!series.matches("linux-image-6.1.0-56-cloud-arm64", Arch::Amd64));
        assert!(series.matches("linux-image-6.1.0-56-cloud-arm64", Arch::Arm64));
        assert_eq!(series.prefix(), "linux-image-6.1.");
        assert!(series.accepts("6.1", "6.1.192-2"));
        assert!(series.accepts("6.1.192", "6.1.192-2"));
        assert!(series.accepts("6.1.192-2", "6.1.192-2~deb11u1"));
        assert!(!series.accepts("6.1.19", "6.1.192-2"));
    }
}
