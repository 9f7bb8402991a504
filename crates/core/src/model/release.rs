//! Kernel release strings: `5.10.223`, `5.4.0-216-generic`, `6.1.0-50-amd64`, `3.10.0-1160.el7`.

/// What a release string says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// `VERSION`.
    pub major: u32,
    /// `PATCHLEVEL`.
    pub minor: u32,
    /// `SUBLEVEL`, if the string has the true one: Ubuntu and Debian up to 12 put 0 there.
    pub patch: Option<u32>,
    /// Ubuntu's ABI number, of the kernels for which it says what they have.
    pub ubuntu_abi: Option<u32>,
    /// Red Hat's `.elN`.
    pub el: Option<u32>,
    /// Who decides which patches it has, where its release does not tell which these are.
    pub vendor: Option<&'static str>,
}

/// Whose kernels these are, by what stands in their release after the version; a `#` is a digit.
const VENDORS: &[(&str, &str)] = &[
    ("uek", "Oracle (UEK)"),
    (".amzn#", "Amazon Linux"),
    (".oe#", "openEuler"),
    (".an#", "Anolis OS"),
    (".al#", "Alibaba Cloud Linux"),
    ("tlinux", "TencentOS"),
    (".tl#", "TencentOS"),
    (".cm#", "Azure Linux"),
    (".azl#", "Azure Linux"),
    ("-default", "SUSE"),
    ("-pve", "Proxmox VE"),
    ("-android", "Android"),
    ("-tegra", "NVIDIA"),
    ("-microsoft", "Microsoft (WSL)"),
];

impl Release {
    /// Reads a release string as `uname -r` prints it.
    pub fn parse(text: &str) -> Option<Self> {
        let at = text.find(['-', '+']).unwrap_or(text.len());
        let (version, suffix) = text.split_at(at);
        let vendor = vendor(suffix);
        let mut numbers = version.split('.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        let patch = match numbers.next() {
            None | Some("x" | "y") => None,
            Some(patch) => Some(patch.parse().ok()?),
        };
        // WSL counts its own builds of a stable release: 5.15.153.1-microsoft-standard-WSL2.
        let build = numbers.next();
        if build.is_some_and(|n| vendor.is_none() || n.parse::<u32>().is_err())
            || numbers.next().is_some()
        {
            return None;
        }
        let release = Self { major, minor, patch, vendor, ..Self::default() };
        if vendor.is_some() {
            return Some(release);
        }
        let rest = suffix.get(1..).unwrap_or_default();
        if let Some((_, el)) = rest.split_once(".el") {
            let digits = el.split(|c: char| !c.is_ascii_digit()).next()?;
            return Some(Self { el: Some(digits.parse().ok()?), ..release });
        }
        // Ubuntu: 5.4.0-216-generic or 5.4.0-216; Debian up to 12: 6.1.0-50-amd64.
        let mut parts = rest.split('-');
        let abi = parts.next().and_then(|n| n.split('.').next()?.parse().ok());
        Some(match (patch, abi, parts.next()) {
            (Some(0), Some(_), Some(flavour)) if is_debian(flavour) => {
                Self { patch: None, ..release }
            }
            (Some(0), Some(abi), flavour) if flavour.is_none_or(is_numbered_as_generic) => {
                Self { patch: None, ubuntu_abi: Some(abi), ..release }
            }
            // -aws, -azure, -gcp, -oracle and the like count from 1001 on, each for itself.
            (Some(0), Some(_), Some(_)) => {
                Self { patch: None, vendor: Some("Ubuntu (not -generic)"), ..release }
            }
            _ => release,
        })
    }

    /// Reads the package version that Debian puts into `/proc/sys/kernel/version`: `#1 SMP Debian
    /// 5.10.223-1 (2024-08-10)`.
    pub fn parse_debian_build(text: &str) -> Option<Self> {
        let (_, version) = text.split_once("Debian ")?;
        let version = version.split(['-', '~', ' ', '+']).next()?;
        Self::parse(version).filter(|r| r.patch.is_some())
    }
}

fn vendor(suffix: &str) -> Option<&'static str> {
    let has = |tag: &str| match tag.strip_suffix('#') {
        None => suffix.contains(tag),
        Some(tag) => suffix
            .match_indices(tag)
            .any(|(at, _)| suffix[at + tag.len()..].starts_with(|c: char| c.is_ascii_digit())),
    };
    VENDORS.iter().find(|(tag, _)| has(tag)).map(|(_, vendor)| *vendor)
}

fn is_debian(flavour: &str) -> bool {
    ["amd64", "arm64", "cloud", "rt", "686", "armmp", "i386", "ppc64el", "s390x", "riscv64"]
        .contains(&flavour)
}

/// Flavours that are built from the same source package as -generic, under its ABI numbers.
fn is_numbered_as_generic(flavour: &str) -> bool {
    ["generic", "lowlatency", "server", "virtual"].contains(&flavour)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (u32, u32, Option<u32>, Option<u32>, Option<u32>) {
        let r = Release::parse(text).unwrap_or_else(|| panic!("{text}"));
        (r.major, r.minor, r.patch, r.ubuntu_abi, r.el)
    }

    #[test]
    fn release_strings_of_distributions() {
        assert_eq!(parsed("5.10.223"), (5, 10, Some(223), None, None));
        assert_eq!(parsed("6.18.44-custom"), (6, 18, Some(44), None, None));
        assert_eq!(parsed("6.12"), (6, 12, None, None, None));
        assert_eq!(parsed("6.1.x"), (6, 1, None, None, None));
        assert_eq!(parsed("5.4.0-216-generic"), (5, 4, None, Some(216), None));
        assert_eq!(parsed("4.4.0-148"), (4, 4, None, Some(148), None));
        assert_eq!(parsed("5.4.0-216.236-generic"), (5, 4, None, Some(216), None));
        assert_eq!(parsed("6.1.0-50-cloud-amd64"), (6, 1, None, None, None));
        assert_eq!(parsed("6.12.107+deb13-amd64"), (6, 12, Some(107), None, None));
        assert_eq!(parsed("3.10.0-1160.el7.x86_64"), (3, 10, Some(0), None, Some(7)));
        assert_eq!(parsed("5.14.0-503.11.1.el9_5.x86_64"), (5, 14, Some(0), None, Some(9)));
    }

    #[test]
    fn releases_that_do_not_tell_their_patches_name_who_decides() {
        let vendor = |text: &str| Release::parse(text).unwrap_or_else(|| panic!("{text}")).vendor;
        for (text, whose) in [
            ("5.15.0-1051-aws", "Ubuntu"),
            ("5.4.0-1100-aws", "Ubuntu"),
            ("6.8.0-1010-azure", "Ubuntu"),
            ("5.10.223-212.873.amzn2.x86_64", "Amazon"),
            ("6.1.112-122.189.amzn2023.x86_64", "Amazon"),
            ("5.10.0-136.12.0.86.oe2203sp1.x86_64", "openEuler"),
            ("5.10.134-16.3.al8.x86_64", "Alibaba"),
            ("5.14.21-150500.55.7-default", "SUSE"),
            ("6.4.0-150600.23.25-default", "SUSE"),
            ("5.15.0-300.163.18.el9uek.x86_64", "Oracle"),
            ("6.8.12-4-pve", "Proxmox"),
            ("5.15.153.1-microsoft-standard-WSL2", "Microsoft"),
        ] {
            assert!(vendor(text).is_some_and(|v| v.starts_with(whose)), "{text}");
        }
        for text in ["5.15.0-135-generic", "5.15.0-135-lowlatency", "6.12.10-arch1-1", "6.6.72"] {
            assert_eq!(vendor(text), None, "{text}");
        }
        assert_eq!(Release::parse("5.15.153.1"), None);
    }

    #[test]
    fn other_strings_are_no_releases() {
        for text in ["", "6", "linux", "6.a", "6.1.2.3", "6.1.z"] {
            assert_eq!(Release::parse(text), None, "{text}");
        }
    }

    #[test]
    fn debian_tells_the_patch_level_in_the_build_string() {
        let build = "#1 SMP Debian 5.10.223-1 (2024-08-10)";
        assert_eq!(Release::parse_debian_build(build).unwrap().patch, Some(223));
        let backport = "#1 SMP PREEMPT_DYNAMIC Debian 6.18.15-1~bpo13+1 (2026-03-01)";
        assert_eq!(Release::parse_debian_build(backport).unwrap().patch, Some(15));
        assert_eq!(Release::parse_debian_build("#1 SMP PREEMPT_DYNAMIC"), None);
    }
}
