//! The one table that maps names of kernels to features; nothing else looks at a version number.

use thiserror::Error;

use super::{features::Features, release::Release};

/// A kernel by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The name that was asked for.
    pub name: String,
    /// What it does.
    pub features: Features,
    /// What the name leaves open, as a sentence.
    pub doubt: Option<String>,
}

/// A name that stands for no kernel in the table.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the model does not know the kernel `{0}`; name a distribution (centos7, rhel8, ubuntu16.04 to \
     24.04, debian11 to 13), a release such as 5.10.223, 5.4.0-216-generic or 3.10.0-1160.el7, or \
     `host`"
)]
pub struct UnknownKernel(pub String);

/// What a distribution's name alone stands for: its last kernel.
struct Named {
    names: &'static [&'static str],
    features: Features,
    doubt: Option<&'static str>,
}

const B: Features = Features::V5_4;
const C: Features = B.above_backlog();
const C_LINEAR: Features = Features::V6_5.above_backlog();
/// 4.4.178 and later: the young rule is gone, all else is 4.4.
const V4_4_178: Features = Features { young_rule: false, ..Features::V4_4 };

const NAMED: &[Named] = &[
    // Measured kernels, by the names of the measurements.
    row(&["el7-3.10.0-1160", "centos7", "rhel7"], Features::EL7, None),
    row(&["van4.4.155"], Features::V4_4, None),
    row(&["el8-4.18.0-147", "centos8", "rhel8"], Features::V4_15, None),
    row(&["van5.4.273", "deb5.10"], B, None),
    row(&["deb6.1"], C, None),
    row(&["deb6.12", "deb6.18", "deb7.3", "debian13"], C_LINEAR, None),
    // Distributions.
    row(
        &["ubuntu16.04"],
        V4_4_178,
        Some("before 4.4.0-149 a full accept queue still admitted two young requests"),
    ),
    row(&["ubuntu18.04"], Features::V4_15, None),
    row(&["ubuntu20.04"], C, Some("before 5.4.0-210 the SYN queue test is >=")),
    row(&["ubuntu22.04"], C, Some("before 5.15.0-135 the SYN queue test is >=")),
    row(&["ubuntu24.04"], C_LINEAR, Some("before 6.8.0-60 the SYN queue test is >=")),
    row(&["debian11"], C, Some("before 5.10.234-1 the SYN queue test is >=")),
    row(&["debian12"], C, Some("before 6.1.128-1 the SYN queue test is >=")),
    row(
        &["rhel9", "centos9"],
        B,
        Some("later releases of RHEL 9 may have taken the SYN queue test >"),
    ),
];

const fn row(
    names: &'static [&'static str],
    features: Features,
    doubt: Option<&'static str>,
) -> Named {
    Named { names, features, doubt }
}

/// A mainline series and its stable releases.
struct Series {
    /// First series of the range, `(major, minor)`.
    from: (u32, u32),
    /// Features of its first release.
    features: Features,
    /// Patch level of the stable release that changed them, and into what.
    stable: Option<(u32, Features)>,
    /// What is not known of it.
    doubt: Option<&'static str>,
}

const NOT_READ: &str = "4.5 to 4.14 were not read; taken from the change log";

/// Ascending; each row holds until the next.
const SERIES: &[Series] = &[
    series((4, 4), Features::V4_4, Some((178, V4_4_178))),
    Series { from: (4, 5), features: Features::V4_4, stable: None, doubt: Some(NOT_READ) },
    Series { from: (4, 8), features: Features::V4_8, stable: None, doubt: Some(NOT_READ) },
    Series { from: (4, 10), features: Features::V4_15, stable: None, doubt: Some(NOT_READ) },
    series((4, 15), Features::V4_15, None),
    series((5, 4), B, Some((290, C))),
    series((5, 5), B, None),
    series((5, 10), B, Some((234, C))),
    series((5, 11), B, None),
    series((5, 15), B, Some((177, C))),
    series((5, 16), B, None),
    series((6, 1), B, Some((125, C))),
    series((6, 2), B, None),
    series((6, 5), Features::V6_5, None),
    series((6, 6), Features::V6_5, Some((72, C_LINEAR))),
    series((6, 7), Features::V6_5, None),
    series((6, 12), Features::V6_5, Some((10, C_LINEAR))),
    series((6, 13), C_LINEAR, None),
    Series {
        from: (7, 4),
        features: C_LINEAR,
        stable: None,
        doubt: Some("later than 7.3, the last kernel that was read"),
    },
];

const fn series(from: (u32, u32), features: Features, stable: Option<(u32, Features)>) -> Series {
    Series { from, features, stable, doubt: None }
}

/// Ubuntu's kernels are named by an ABI number: series, the number with which 3479c7549fb1 (or, for
/// 4.4, 5ea8ea2cb7f1) came, features before and since. A series that is not here has the features
/// of its first mainline release for good.
const UBUNTU: &[((u32, u32), u32, Features, Features)] = &[
    ((4, 4), 149, Features::V4_4, V4_4_178),
    ((5, 4), 210, B, C),
    ((5, 15), 135, B, C),
    ((6, 8), 60, Features::V6_5, C_LINEAR),
];

/// The kernel of that name: a distribution, a measured kernel, or a release.
pub fn by_name(name: &str) -> Result<Kernel, UnknownKernel> {
    if let Some(named) = NAMED.iter().find(|n| n.names.contains(&name)) {
        return Ok(kernel(name, named.features, named.doubt.map(str::to_owned)));
    }
    let release = Release::parse(name).ok_or_else(|| UnknownKernel(name.to_owned()))?;
    by_release(name, &release)
}

/// The kernel of a parsed release.
pub fn by_release(name: &str, release: &Release) -> Result<Kernel, UnknownKernel> {
    let unknown = || UnknownKernel(name.to_owned());
    if let Some(el) = release.el {
        let series = (release.major, release.minor);
        return match (el, series) {
            (7, (3, 10)) => Ok(kernel(name, Features::EL7, None)),
            (8, (4, 18)) => Ok(kernel(name, Features::V4_15, None)),
            (9, (5, 14)) => {
                let doubt = "later releases of RHEL 9 may have taken the SYN queue test >";
                Ok(kernel(name, B, Some(doubt.to_owned())))
            }
            _ => Err(unknown()),
        };
    }
    let series = (release.major, release.minor);
    let row = SERIES.iter().rev().find(|s| s.from <= series).ok_or_else(unknown)?;
    if let Some(abi) = release.ubuntu_abi {
        let flip = UBUNTU.iter().find(|(s, ..)| *s == series);
        let features = match flip {
            Some((_, from, _, since)) if abi >= *from => *since,
            Some((_, _, before, _)) => *before,
            None => row.features,
        };
        return Ok(kernel(name, features, row.doubt.map(str::to_owned)));
    }
    let Some((since, changed)) = row.stable.filter(|_| row.from == series) else {
        return Ok(kernel(name, row.features, row.doubt.map(str::to_owned)));
    };
    Ok(match release.patch {
        Some(patch) if patch >= since => kernel(name, changed, None),
        Some(_) => kernel(name, row.features, None),
        None => {
            let (major, minor) = series;
            let test = if changed.young_rule == row.features.young_rule {
                "the SYN queue test is >="
            } else {
                "a full accept queue still admitted two young requests"
            };
            let doubt =
                format!("the name has no patch level: before {major}.{minor}.{since} {test}");
            kernel(name, changed, Some(doubt))
        }
    })
}

fn kernel(name: &str, features: Features, doubt: Option<String>) -> Kernel {
    Kernel { name: name.to_owned(), features, doubt }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regime(name: &str) -> &'static str {
        by_name(name).unwrap_or_else(|e| panic!("{e}")).features.regime()
    }

    #[test]
    fn flip_points_of_the_distributions() {
        for (name, expected) in [
            ("3.10.0-1160.el7.x86_64", "A"),
            ("4.4.0-148-generic", "A'"),
            ("4.4.0-149-generic", "B"),
            ("4.4.177", "A'"),
            ("4.4.178", "B"),
            ("4.15.0-213-generic", "B"),
            ("4.18.0-553.el8_10.x86_64", "B"),
            ("5.3.0-76-generic", "B"),
            ("5.4.0-209-generic", "B"),
            ("5.4.0-210-generic", "C"),
            ("5.4.289", "B"),
            ("5.4.290", "C"),
            ("5.10.223", "B"),
            ("5.10.234", "C"),
            ("5.15.0-134-generic", "B"),
            ("5.15.0-135-generic", "C"),
            ("6.1.124", "B"),
            ("6.1.125", "C"),
            ("6.2.0-39-generic", "B"),
            ("6.5.0-45-generic", "B"),
            ("6.8.0-59-generic", "B"),
            ("6.8.0-60-generic", "C"),
            ("6.12.9", "B"),
            ("6.12.107+deb13-cloud-amd64", "C"),
            ("6.14.0-37-generic", "C"),
            ("6.18.44", "C"),
            ("7.3", "C"),
        ] {
            assert_eq!(regime(name), expected, "{name}");
            assert_eq!(by_name(name).unwrap().doubt, None, "{name}");
        }
    }

    #[test]
    fn names_without_patch_level_say_so() {
        assert_eq!(regime("4.9.1"), "A'");
        for name in
            ["5.10", "6.1.x", "4.4", "4.9.1", "6.1.0-50-amd64", "ubuntu22.04", "debian12", "rhel9"]
        {
            assert!(by_name(name).unwrap().doubt.is_some(), "{name}");
        }
        let doubt = by_name("5.10").unwrap().doubt.unwrap();
        assert!(doubt.contains("before 5.10.234"), "{doubt}");
    }

    #[test]
    fn first_syns_are_linear_since_6_5() {
        assert_eq!(by_name("6.4.1").unwrap().features.syn_linear_timeouts, 0);
        assert_eq!(by_name("6.5.1").unwrap().features.syn_linear_timeouts, 4);
    }

    #[test]
    fn what_was_not_read_is_refused() {
        for name in ["3.10.108", "3.13.0-170-generic", "4.1", "freebsd", "6.12.0-55.el10"] {
            assert_eq!(by_name(name), Err(UnknownKernel(name.to_owned())), "{name}");
        }
    }

    #[test]
    fn series_ascend() {
        assert!(SERIES.is_sorted_by_key(|s| s.from));
    }
}
