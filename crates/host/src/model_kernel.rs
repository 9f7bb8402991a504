//! Which of the model's kernels this host runs.

use overflow_core::model::{
    kernels::{self, Kernel, UnknownKernel},
    release::Release,
};

use crate::kernel;

/// The running kernel as the model knows it, from its release, its build string and the
/// distribution's name.
pub fn model_kernel() -> Result<Kernel, UnknownKernel> {
    identify(&kernel::release(), &kernel::build(), &kernel::os_release("ID"))
}

fn identify(release: &str, build: &str, os_id: &str) -> Result<Kernel, UnknownKernel> {
    let unknown = || UnknownKernel::release(release);
    let mut parsed = Release::parse(release).ok_or_else(unknown)?;
    let is_ubuntu = matches!(os_id, "ubuntu" | "linuxmint" | "pop");
    if let Some(debian) = Release::parse_debian_build(build) {
        parsed = debian;
    } else if parsed.ubuntu_abi.is_some() && !is_ubuntu {
        // `5.10.0-7-custom` of somebody else says neither a patch level nor an Ubuntu ABI.
        parsed.ubuntu_abi = None;
    }
    if parsed.vendor.is_some_and(|vendor| vendor.starts_with("Ubuntu")) && !is_ubuntu {
        parsed.vendor = None;
    }
    kernels::by_release(release, &parsed)
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
}
