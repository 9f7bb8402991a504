//! Which of the model's kernels this host runs.

use std::fs;

use anyhow::{Context, Result};

use overflow_core::model::{
    kernels::{self, Kernel},
    release::Release,
};

/// The running kernel, from its release, its build string and the distribution's name.
pub(super) fn kernel() -> Result<Kernel> {
    let read = |path: &str| fs::read_to_string(path).with_context(|| format!("reading {path}"));
    let release = read("/proc/sys/kernel/osrelease")?;
    let build = read("/proc/sys/kernel/version").unwrap_or_default();
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    identify(release.trim(), build.trim(), os_release_id(&os_release))
}

fn identify(release: &str, build: &str, os_id: &str) -> Result<Kernel> {
    let unknown = || kernels::UnknownKernel(release.to_owned());
    let mut parsed = Release::parse(release).ok_or_else(unknown)?;
    if let Some(debian) = Release::parse_debian_build(build) {
        parsed = debian;
    } else if parsed.ubuntu_abi.is_some() && !matches!(os_id, "ubuntu" | "linuxmint" | "pop") {
        // `5.10.0-7-custom` of somebody else says neither a patch level nor an Ubuntu ABI.
        parsed.ubuntu_abi = None;
    }
    Ok(kernels::by_release(release, &parsed)?)
}

fn os_release_id(text: &str) -> &str {
    let id = text.lines().find_map(|line| line.strip_prefix("ID="));
    id.unwrap_or("").trim_matches(['"', '\''])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regime(release: &str, build: &str, os_id: &str) -> (&'static str, bool) {
        let kernel = identify(release, build, os_id).unwrap();
        (kernel.features.regime(), kernel.doubt.is_some())
    }

    #[test]
    fn debian_is_known_by_its_build_string() {
        let old = "#1 SMP Debian 5.10.223-1 (2024-08-10)";
        let new = "#1 SMP Debian 5.10.234-1 (2025-02-24)";
        assert_eq!(regime("5.10.0-32-amd64", old, "debian"), ("B", false));
        assert_eq!(regime("5.10.0-34-amd64", new, "debian"), ("C", false));
        assert_eq!(regime("5.10.0-32-amd64", "#1 SMP", "debian"), ("C", true));
    }

    #[test]
    fn abi_numbers_are_believed_of_ubuntu_only() {
        assert_eq!(regime("5.4.0-150-generic", "#167-Ubuntu SMP", "ubuntu"), ("B", false));
        assert_eq!(regime("5.4.0-150-generic", "#1 SMP", "arch"), ("C", true));
    }

    #[test]
    fn os_release_ids() {
        assert_eq!(os_release_id("NAME=\"x\"\nID=debian\nID_LIKE=y"), "debian");
        assert_eq!(os_release_id("ID=\"rhel\""), "rhel");
        assert_eq!(os_release_id(""), "");
    }
}
