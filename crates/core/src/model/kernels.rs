//! The one table that maps names of kernels to features; nothing else looks at a version number.

mod names;

use thiserror::Error;

use self::names::{EL9, EL10, NAMED, REFUSED};
use super::{features::Features, release::Release};

/// A kernel by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The name that was asked for.
    pub name: String,
    /// What it does.
    pub features: Features,
    /// What it does instead, where the name does not tell which of two kernels it is.
    pub alternative: Option<Features>,
    /// What the name leaves open, as a sentence.
    pub doubt: Option<String>,
}

impl Kernel {
    /// Each kernel that it may be: one, or two with all the doubt that there is.
    pub fn possible(&self) -> impl Iterator<Item = Self> {
        let other = self.alternative.map(|features| Self { features, ..self.clone() });
        [Some(self.clone()), other].into_iter().flatten()
    }

    /// Its name, and which rule is meant where the name alone does not tell.
    pub fn title(&self) -> String {
        match self.alternative {
            Some(_) => format!("{} (rule {})", self.name, self.features.regime()),
            None => self.name.clone(),
        }
    }
}

/// A name that stands for no kernel in the table.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the model does not know the kernel `{name}`: {why}; name a distribution ({known}), a release \
     as `uname -r` prints it, such as 5.10.223 or 5.4.0-216-generic, or `host`"
)]
pub struct UnknownKernel {
    /// The name.
    pub name: String,
    /// What is wrong with it, as a clause.
    pub why: String,
    /// Names that are nearest to it, or some.
    pub known: String,
}

impl UnknownKernel {
    fn new(name: &str, why: &str) -> Self {
        let (name, why) = (name.to_owned(), why.to_owned());
        Self { known: nearest(&name), name, why }
    }

    /// Its release is none that this program reads.
    pub fn release(name: &str) -> Self {
        Self::new(name, "that is no release")
    }
}

/// What a distribution's name alone stands for: its last kernel.
pub(super) struct Named {
    pub(super) names: &'static [&'static str],
    pub(super) features: Features,
    pub(super) alternative: Option<Features>,
    pub(super) doubt: Option<&'static str>,
}

pub(super) const B: Features = Features::V5_4;
pub(super) const C: Features = B.above_backlog();
pub(super) const C_LINEAR: Features = Features::V6_5.above_backlog();
/// 4.4.178 and later: the young rule is gone, all else is 4.4.
pub(super) const V4_4_178: Features = Features { young_rule: false, ..Features::V4_4 };

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
    let plain = plain(name);
    if let Some(named) = NAMED.iter().find(|n| n.names.contains(&&*plain)) {
        let Named { features, alternative, doubt, .. } = *named;
        let doubt = doubt.map(str::to_owned);
        return Ok(Kernel { name: name.to_owned(), features, alternative, doubt });
    }
    let refused = |(refused, _): &&(&str, &str)| {
        let version = refused.ends_with(|c: char| c.is_ascii_digit());
        plain.strip_prefix(refused).is_some_and(|rest| {
            !rest.starts_with(|c: char| c.is_alphabetic() || (version && c.is_ascii_digit()))
        })
    };
    if let Some((_, why)) = REFUSED.iter().find(refused) {
        return Err(UnknownKernel::new(name, why));
    }
    let release = Release::parse(name)
        .ok_or_else(|| UnknownKernel::new(name, "it is neither a known name nor a release"))?;
    by_release(name, &release)
}

/// A name as the table has it: of `RHEL-9.4`, `rhel9`.
fn plain(name: &str) -> String {
    let name = name.to_lowercase();
    let letters = name.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let (family, version) = name.split_at(name.len() - letters.len());
    let version = version.trim_start_matches(['-', '_', ' ', ':']);
    let family = match family {
        "almalinux" => "alma",
        "rockylinux" => "rocky",
        "centosstream" => "centos",
        "amazonlinux" | "amazon" | "al" => "amzn",
        "alibaba" | "alibabacloud" => "alinux",
        family => family,
    };
    let whole = ["rhel", "centos", "rocky", "alma", "debian", "alinux", "openeuler"];
    let version = match version.split_once('.') {
        Some((major, _)) if whole.contains(&family) => major,
        _ => version,
    };
    format!("{family}{version}")
}

/// The names of the table that are nearest to this one, or some.
fn nearest(name: &str) -> String {
    let plain = plain(name);
    let all = || NAMED.iter().flat_map(Named::distributions);
    let family = |name: &str| name.trim_end_matches(|c: char| !c.is_ascii_alphabetic()).to_owned();
    let same: Vec<&str> = all().filter(|known| family(known) == family(&plain)).collect();
    if !same.is_empty() {
        return same.join(", ");
    }
    let alike = |known: &&str| strsim::jaro_winkler(known, &plain) > 0.8;
    let alike: Vec<&str> = all().filter(alike).collect();
    if alike.is_empty() {
        "centos7, rhel8, ubuntu22.04, debian12 and others, see `overflow predict --list-kernels`"
            .to_owned()
    } else {
        alike.join(", ")
    }
}

/// The kernel of a parsed release.
pub fn by_release(name: &str, release: &Release) -> Result<Kernel, UnknownKernel> {
    let series = (release.major, release.minor);
    let certain = |features, doubt: Option<&str>| Kernel {
        name: name.to_owned(),
        features,
        alternative: None,
        doubt: doubt.map(str::to_owned),
    };
    if let Some(el) = release.el {
        return match (el, series) {
            (7, (3, 10)) => Ok(certain(Features::EL7, None)),
            (8, (4, 18)) => Ok(certain(Features::V4_15, None)),
            (9, (5, 14)) => {
                let alternative = Some(C);
                Ok(Kernel { alternative, ..certain(B, Some(EL9)) })
            }
            (10, (6, 12)) => {
                let alternative = Some(C_LINEAR);
                Ok(Kernel { alternative, ..certain(Features::V6_5, Some(EL10)) })
            }
            _ => Err(UnknownKernel::new(name, "no such kernel of Red Hat's was read")),
        };
    }
    let row = SERIES.iter().rev().find(|s| s.from <= series);
    let row = row.ok_or_else(|| {
        UnknownKernel::new(name, "no kernel before 4.4 was read, but for those of RHEL 7")
    })?;
    let changed = row.stable.filter(|_| row.from == series);
    if let Some(vendor) = release.vendor {
        let alternative = changed.map_or_else(|| row.features.above_backlog(), |(_, since)| since);
        let alternative = Some(alternative).filter(|other| *other != row.features);
        let open = if alternative.is_some() { ", which decides: both are shown" } else { "" };
        let doubt = format!("it is not known which patches {vendor} adds to it{open}");
        return Ok(Kernel { alternative, ..certain(row.features, Some(&doubt)) });
    }
    if let Some(abi) = release.ubuntu_abi {
        let flip = UBUNTU.iter().find(|(s, ..)| *s == series);
        let features = match flip {
            Some((_, from, _, since)) if abi >= *from => *since,
            Some((_, _, before, _)) => *before,
            None => row.features,
        };
        return Ok(certain(features, row.doubt));
    }
    let Some((since, changed)) = changed else { return Ok(certain(row.features, row.doubt)) };
    Ok(match release.patch {
        Some(patch) if patch >= since => certain(changed, None),
        Some(_) => certain(row.features, None),
        None => {
            let (major, minor) = series;
            let test = if changed.young_rule == row.features.young_rule {
                "the SYN queue test is >="
            } else {
                "a full accept queue still admitted two young requests"
            };
            let doubt =
                format!("the name has no patch level: before {major}.{minor}.{since} {test}");
            Kernel { alternative: Some(row.features), ..certain(changed, Some(&doubt)) }
        }
    })
}

/// What is known, a row each: a name, the letter of its rule, and what is to be said of it.
pub fn list() -> impl Iterator<Item = (String, &'static str, String)> {
    let rule = |features: &Features| features.regime();
    let named = NAMED.iter().filter_map(move |named| {
        let names: Vec<&str> = named.distributions().collect();
        let doubt = named.doubt.unwrap_or_default().to_owned();
        (!names.is_empty()).then(|| (names.join(", "), rule(&named.features), doubt))
    });
    let series = SERIES.iter().map(move |series| {
        let (major, minor) = series.from;
        let changed = series
            .stable
            .map(|(patch, since)| format!("{} since {major}.{minor}.{patch}", since.regime()));
        let notes: Vec<String> =
            changed.into_iter().chain(series.doubt.map(str::to_owned)).collect();
        (format!("{major}.{minor}"), rule(&series.features), notes.join("; "))
    });
    let ubuntu = UBUNTU.iter().map(move |((major, minor), abi, before, since)| {
        let name = format!("{major}.{minor}.0-ABI-generic");
        (name, rule(before), format!("{} since ABI {abi}", since.regime()))
    });
    named.chain(series).chain(ubuntu)
}

#[cfg(test)]
mod tests;
