//! Distributions by name: what their last kernel does, or why the name is no answer.

use super::{B, C, C_LINEAR, Named, V4_4_178};
use crate::model::features::Features;

pub(super) const EL9: &str =
    "it is not known whether RHEL 9 has taken the SYN queue test > (3479c7549fb1): both are shown";
pub(super) const EL10: &str =
    "it is not known whether RHEL 10 has taken the SYN queue test > (3479c7549fb1): both are shown";
const OPENEULER: &str = "it is not known which patches openEuler adds to it: both are shown";
const AMAZON: &str = "it is not known which patches Amazon adds to 6.1: both are shown";
const ALIBABA: &str = "it is not known which patches Alibaba adds to 5.10.134: both are shown";

/// What each name stands for.
pub(super) const NAMED: &[Named] = &[
    // Measured kernels, by the names of the measurements.
    row(&["el7-3.10.0-1160", "centos7", "rhel7"], Features::EL7),
    row(&["van4.4.155"], Features::V4_4),
    row(&["el8-4.18.0-147", "centos8", "rhel8", "rocky8", "alma8"], Features::V4_15),
    row(&["van5.4.273", "deb5.10"], B),
    row(&["deb6.1"], C),
    row(&["deb6.12", "deb6.18", "deb7.3", "debian13"], C_LINEAR),
    // Distributions.
    Named {
        doubt: Some("before 4.4.0-149 a full accept queue still admitted two young requests"),
        ..row(&["ubuntu16.04"], V4_4_178)
    },
    row(&["ubuntu18.04"], Features::V4_15),
    Named { doubt: Some("before 5.4.0-210 the SYN queue test is >="), ..row(&["ubuntu20.04"], C) },
    Named { doubt: Some("before 5.15.0-135 the SYN queue test is >="), ..row(&["ubuntu22.04"], C) },
    Named {
        doubt: Some("before 6.8.0-60 the SYN queue test is >="),
        ..row(&["ubuntu24.04"], C_LINEAR)
    },
    Named { doubt: Some("before 5.10.234-1 the SYN queue test is >="), ..row(&["debian11"], C) },
    Named { doubt: Some("before 6.1.128-1 the SYN queue test is >="), ..row(&["debian12"], C) },
    either(&["rhel9", "centos9", "rocky9", "alma9"], B, C, EL9),
    either(&["rhel10", "centos10", "rocky10", "alma10"], Features::V6_5, C_LINEAR, EL10),
    either(&["amzn2023"], B, C, AMAZON),
    either(&["openeuler22.03", "openeuler22"], B, C, OPENEULER),
    either(&["openeuler24.03", "openeuler24"], Features::V6_5, C_LINEAR, OPENEULER),
    either(&["alinux3"], B, C, ALIBABA),
];

/// Names that people try and that stand for several kernels, or for none that was read: why.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("amzn2", "Amazon Linux 2 has kernels from 4.14 to 5.15; give the release"),
    ("amzn", "Amazon Linux has kernels from 4.14 to 6.12; give the release"),
    ("wsl", "WSL 2 has kernels 5.15 and 6.6; give the release"),
    ("alpine", "every Alpine has another kernel; give the release"),
    ("arch", "Arch Linux takes every kernel; give the release"),
    ("fedora", "every Fedora has several kernels; give the release"),
    ("opensuse", "SUSE's patches are not known; the release of one gets both possible answers"),
    ("sles", "SUSE's patches are not known; the release of one gets both possible answers"),
    ("alinux", "of Alibaba Cloud Linux only 3 is known; the release gets both possible answers"),
    ("openeuler", "only 22.03 and 24.03 are known by name; give the release"),
    ("oracle", "Oracle Linux has kernels of its own (UEK) and Red Hat's; give the release"),
    ("ol", "Oracle Linux has kernels of its own (UEK) and Red Hat's; give the release"),
    ("cos", "Container-Optimized OS has several kernels; give the release"),
    ("ubuntu", "of Ubuntu 16.04, 18.04, 20.04, 22.04 and 24.04 are known by name"),
    ("debian", "of Debian 11, 12 and 13 are known by name; an older one's release is, too"),
    ("centos", "of CentOS 7 to 10 are known"),
    ("rhel", "of RHEL 7 to 10 are known"),
];

const fn row(names: &'static [&'static str], features: Features) -> Named {
    Named { names, features, alternative: None, doubt: None }
}

const fn either(
    names: &'static [&'static str],
    features: Features,
    alternative: Features,
    doubt: &'static str,
) -> Named {
    Named { names, features, alternative: Some(alternative), doubt: Some(doubt) }
}

impl Named {
    /// Its names but for those that only the measurements use.
    pub(super) fn distributions(&self) -> impl Iterator<Item = &'static str> {
        let measured = ["el7-", "el8-", "van", "deb5.", "deb6.", "deb7."];
        let is = move |name: &&str| !measured.iter().any(|beginning| name.starts_with(beginning));
        self.names.iter().copied().filter(is)
    }
}
