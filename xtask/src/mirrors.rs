//! Where this system gets Debian packages from, so that the project names no mirror.

use std::{env, process::Command};

use anyhow::{Context as _, Result};

use crate::exec;

/// Base URIs of the archive and of the security archive.
#[derive(Debug, PartialEq, Eq)]
pub struct Mirrors {
    /// Of all suites but those of the security archive.
    pub archive: String,
    /// Of suites whose names end in `-security`.
    pub security: String,
}

impl Mirrors {
    /// Those that the environment names, else those this system's own apt uses.
    pub fn of_this_system() -> Result<Self> {
        if let Ok(archive) = env::var("OVERFLOW_DEBIAN_MIRROR") {
            let security = env::var("OVERFLOW_DEBIAN_SECURITY_MIRROR").ok();
            return Ok(Self::new(&archive, security.as_deref()));
        }
        let format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
        let targets = exec::output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            format,
            "Created-By: Packages",
        ]))?;
        Self::from_targets(&targets).context(
            "cannot find out where the Debian archive is, because this system's apt has no Debian \
             source: set OVERFLOW_DEBIAN_MIRROR to the base URI of a Debian mirror",
        )
    }

    /// The security archive lies beside the archive unless it is given.
    pub fn new(archive: &str, security: Option<&str>) -> Self {
        let archive = archive.trim_end_matches('/');
        let security = security.map_or_else(
            // Mirrors carry the two side by side: …/debian and …/debian-security.
            || format!("{archive}-security"),
            |uri| uri.trim_end_matches('/').to_owned(),
        );
        Self { archive: archive.to_owned(), security }
    }

    /// `targets` has a line "URI release component" for each index.
    fn from_targets(targets: &str) -> Option<Self> {
        let last = |uri: &str, name: &str| uri.trim_end_matches('/').ends_with(name);
        let find = |wanted: &dyn Fn(&str, &str) -> bool| {
            targets.lines().find_map(|line| {
                let (uri, rest) = line.split_once(' ')?;
                let release = rest.split(' ').next()?;
                wanted(uri, release).then_some(uri)
            })
        };
        let archive =
            find(&|uri, release| last(uri, "/debian") && !release.ends_with("-security"))?;
        let security =
            find(&|uri, release| last(uri, "debian-security") && release.ends_with("-security"));
        Some(Self::new(archive, security))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_come_from_the_debian_sources_only() {
        let targets = "https://other.example/apt cloud main\n\
                       http://mirror.example/debian/ bookworm main\n\
                       http://mirror.example/debian/ bookworm-updates main\n\
                       http://safe.example/debian-security/ bookworm-security main\n";
        let mirrors = Mirrors::from_targets(targets).unwrap();
        assert_eq!(mirrors.archive, "http://mirror.example/debian");
        assert_eq!(mirrors.security, "http://safe.example/debian-security");
        assert_eq!(Mirrors::from_targets("https://other.example/apt cloud main\n"), None);
    }

    #[test]
    fn the_security_archive_is_derived_where_no_source_names_it() {
        let mirrors = Mirrors::from_targets("http://mirror.example/debian trixie main").unwrap();
        assert_eq!(mirrors.security, "http://mirror.example/debian-security");
    }
}
