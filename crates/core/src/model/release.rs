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
    /// Ubuntu's ABI number.
    pub ubuntu_abi: Option<u32>,
    /// Red Hat's `.elN`.
    pub el: Option<u32>,
}

impl Release {
    /// Reads a release string as `uname -r` prints it.
    pub fn parse(text: &str) -> Option<Self> {
        let (version, rest) = match text.split_once(['-', '+']) {
            Some((version, rest)) => (version, rest),
            None => (text, ""),
        };
        let mut numbers = version.split('.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        let patch = match numbers.next() {
            None | Some("x" | "y") => None,
            Some(patch) => Some(patch.parse().ok()?),
        };
        if numbers.next().is_some() {
            return None;
        }
        let release = Self { major, minor, patch, ..Self::default() };
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
            (Some(0), Some(abi), _) => Self { patch: None, ubuntu_abi: Some(abi), ..release },
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

fn is_debian(flavour: &str) -> bool {
    ["amd64", "arm64", "cloud", "rt", "686", "armmp", "i386", "ppc64el", "s390x", "riscv64"]
        .contains(&flavour)
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
