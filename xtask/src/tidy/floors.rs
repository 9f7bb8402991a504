//! Which crate stands on which: what is below knows nothing of what is above.

use anyhow::{Context as _, Result};

/// Each crate, and those of this workspace that it may use.
const FLOORS: &[(&str, &[&str])] = &[
    ("overflow-common", &[]),
    ("overflow-ebpf", &["overflow-common"]),
    ("overflow-core", &["overflow-common"]),
    ("overflow-host", &["overflow-common", "overflow-core"]),
    ("overflow-lab", &["overflow-common", "overflow-core", "overflow-host"]),
    ("overflow-report", &["overflow-core"]),
    ("overflow-web", &["overflow-core"]),
    (
        "overflow-user",
        &[
            "overflow-common",
            "overflow-core",
            "overflow-ebpf",
            "overflow-host",
            "overflow-lab",
            "overflow-report",
        ],
    ),
    ("guest-init", &[]),
    ("guest-bench", &["guest-init"]),
    // A link with a delay is made in one place.
    ("guest-cases", &["overflow-common", "overflow-core", "overflow-host", "overflow-lab"]),
    ("overflow-fuzz", &["overflow-common", "overflow-core", "overflow-host", "overflow-lab"]),
    ("xtask", &["guest-bench", "guest-cases", "guest-init", "overflow-common", "overflow-core"]),
];

/// Crates that are pure.
const PURE: &[&str] = &["overflow-core", "overflow-report", "overflow-web"];

/// What asks the system for something, which they must not.
const OF_THE_SYSTEM: &[&str] = &[
    "aya",
    "landlock",
    "libc",
    "netlink-packet-core",
    "netlink-packet-sock-diag",
    "netlink-sys",
    "nix",
    "procfs",
    "rtnetlink",
    "rustix",
    "seccompiler",
    "socket2",
    "tokio",
];

/// What is wrong with a manifest: dependencies for tests are free.
pub fn faults(manifest: &str) -> Result<Vec<String>> {
    let manifest: toml::Table = toml::from_str(manifest).context("it is not TOML")?;
    let Some(name) = manifest.get("package").and_then(|package| package["name"].as_str()) else {
        // The workspace.
        return Ok(Vec::new());
    };
    let dependencies = dependencies(&manifest);
    let Some((_, below)) = FLOORS.iter().find(|(known, _)| *known == name) else {
        return Ok(vec![format!("{name} has no floor: give it one in xtask/src/tidy/floors.rs")]);
    };
    let of_workspace = |name: &str| FLOORS.iter().any(|(known, _)| *known == name);
    let mut faults = Vec::new();
    for (dependency, optional) in dependencies {
        if of_workspace(&dependency) && !below.contains(&dependency.as_str()) {
            faults.push(format!("{name} must not use {dependency}, which stands above it"));
        }
        if PURE.contains(&name) && OF_THE_SYSTEM.contains(&dependency.as_str()) {
            faults.push(format!("{name} must be pure, but {dependency} asks the system"));
        }
        if name == "overflow-user" && dependency == "overflow-lab" && !optional {
            faults
                .push(format!("{name} must use {dependency} as an option: the product needs none"));
        }
    }
    Ok(faults)
}

/// Names of normal and build dependencies for any target, and whether each is optional.
fn dependencies(manifest: &toml::Table) -> Vec<(String, bool)> {
    let targets = manifest.get("target").and_then(|targets| targets.as_table());
    let tables = targets.into_iter().flat_map(|targets| targets.values());
    let tables = tables.filter_map(|target| target.as_table()).chain([manifest]);
    let mut found = Vec::new();
    for table in tables {
        for kind in ["dependencies", "build-dependencies"] {
            let entries = table.get(kind).and_then(|entries| entries.as_table());
            for (name, entry) in entries.into_iter().flatten() {
                let field = |field: &str| entry.as_table().and_then(|entry| entry.get(field));
                let package = field("package").and_then(|package| package.as_str());
                let optional = field("optional").and_then(toml::Value::as_bool) == Some(true);
                found.push((package.unwrap_or(name).to_owned(), optional));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, dependencies: &str) -> Vec<String> {
        faults(&format!("[package]\nname = \"{name}\"\n{dependencies}")).unwrap()
    }

    #[test]
    fn what_is_below_is_allowed() {
        assert!(
            check("overflow-core", "[dependencies]\noverflow-common = {}\nserde = \"1\"\n")
                .is_empty()
        );
        let tests = "[dev-dependencies]\noverflow-lab = {}\nlibc = \"0.2\"\n";
        assert!(check("overflow-core", tests).is_empty());
        let lab = "[dependencies]\noverflow-lab = { workspace = true, optional = true }\n";
        assert!(check("overflow-user", lab).is_empty());
        assert!(faults("[workspace]\nmembers = []\n").unwrap().is_empty());
    }

    #[test]
    fn what_is_above_is_not() {
        for (name, dependencies, part) in [
            ("overflow-host", "[dependencies]\noverflow-lab = {}\n", "stands above it"),
            ("overflow-lab", "[build-dependencies]\noverflow-user = {}\n", "stands above it"),
            (
                "overflow-lab",
                "[dependencies]\nx = { package = \"overflow-user\" }\n",
                "stands above",
            ),
            (
                "overflow-core",
                "[target.'cfg(unix)'.dependencies]\nlibc = \"1\"\n",
                "asks the system",
            ),
            ("overflow-report", "[dependencies]\nrustix = \"1\"\n", "asks the system"),
            ("overflow-report", "[dependencies]\noverflow-host = {}\n", "stands above it"),
            ("overflow-user", "[dependencies]\noverflow-lab = {}\n", "as an option"),
            ("overflow-new", "", "has no floor"),
        ] {
            let faults = check(name, dependencies);
            assert!(faults.len() == 1 && faults[0].contains(part), "{name}: {faults:?}");
        }
    }
}
