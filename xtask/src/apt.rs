//! A private apt under `target/`: its own sources and state, the system's keys and proxies.
//!
//! apt finds packages in signed indexes and verifies what it downloads; nothing is installed and
//! the system's own apt state is not touched.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    arch::Arch,
    exec, lock,
    mirrors::Mirrors,
    packages, progress,
    tools::{self, APT_GET, DPKG_DEB},
    workspace,
};

/// An index younger than this is not asked for again.
const FRESH: Duration = Duration::from_hours(24);
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring";

/// One version of a package in the indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, as dpkg compares it.
    pub version: String,
}

/// An apt that knows nothing but the given suites.
pub struct Apt {
    dir: PathBuf,
    config: PathBuf,
    /// Where the indexes come from, for messages.
    mirror: String,
    /// Held as long as this lives: apt's own locks fail where waiting is right.
    _lock: File,
}

impl Apt {
    /// Sets up the directories; `name` tells sets of suites apart. No network.
    pub fn open(name: &str, suites: &[String], arch: Arch) -> Result<Self> {
        tools::ensure(&[APT_GET, DPKG_DEB])?;
        let dir = workspace::target().join("vm/apt").join(format!("{name}{}", arch.suffix()));
        for sub in ["state/lists/partial", "cache/archives/partial"] {
            let sub = dir.join(sub);
            fs::create_dir_all(&sub).with_context(|| format!("cannot make {}", sub.display()))?;
        }
        let lock = lock::wait(&dir.join("lock"), &dir.display().to_string())?;
        let mirrors = Mirrors::of_this_system()?;
        let config = dir.join("apt.conf");
        let apt = Self { dir, config, mirror: mirrors.archive.clone(), _lock: lock };
        apt.write("apt.conf", &apt.configuration(arch))?;
        apt.write("sources.list", &sources(suites, arch, &mirrors, &keyring()?))?;
        Ok(apt)
    }

    /// Fetches and verifies the indexes, unless they are fresh.
    pub fn update(&self) -> Result<()> {
        let stamp = self.dir.join("updated");
        let sources = fs::read_to_string(self.dir.join("sources.list"))?;
        let age = |path: &Path| {
            fs::metadata(path)?.modified().map(|t| SystemTime::now().duration_since(t))
        };
        let fresh = matches!(age(&stamp), Ok(Ok(age)) if age < FRESH)
            && fs::read_to_string(&stamp).is_ok_and(|s| s == sources);
        if fresh {
            return Ok(());
        }
        progress::step("asking the Debian archive what it holds", || {
            exec::output(self.apt("apt-get").args(["-q", "update"]))
                .with_context(|| format!("cannot refresh the indexes of {}", self.mirror))?;
            self.write("updated", &sources)
        })
    }

    /// Every version of every package whose name begins with `prefix`.
    pub fn packages(&self, prefix: &str) -> Result<Vec<Package>> {
        let names = exec::output(self.apt("apt-cache").args(["pkgnames", prefix]))?;
        let names: Vec<_> = names.lines().collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        // Names without a version are virtual, and make apt-cache complain.
        let shown = exec::capture(self.apt("apt-cache").arg("show").args(names))?;
        Ok(parse_stanzas(&String::from_utf8_lossy(&shown.stdout)))
    }

    /// These packages in their newest versions, with all that they depend on.
    pub fn with_dependencies(&self, names: &[&str]) -> Result<Vec<Package>> {
        let install = ["-s", "-q", "--no-install-recommends", "install"];
        let plan = exec::output(self.apt("apt-get").args(install).args(names))?;
        Ok(plan.lines().filter_map(parse_planned).collect())
    }

    /// Downloads one package and verifies it; the path of the .deb.
    pub fn download(&self, package: &Package) -> Result<PathBuf> {
        let dir = self.dir.join("debs").join(&package.name);
        // Emptied first, so that what lies there afterwards is the one package.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let wanted = format!("{}={}", package.name, package.version);
        exec::output(self.apt("apt-get").args(["-q", "download", &wanted]).current_dir(&dir))
            .with_context(|| format!("cannot download {wanted}"))?;
        let deb = fs::read_dir(&dir)?.filter_map(Result::ok).map(|e| e.path()).next();
        deb.with_context(|| format!("apt-get downloaded {wanted} to nowhere"))
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg(format!("-c={}", self.config.display())).env("LC_ALL", "C.UTF-8");
        command
    }

    /// Read after the system's own configuration, whose proxies stay in force.
    fn configuration(&self, arch: Arch) -> String {
        let (dir, arch) = (self.dir.display(), arch.debian());
        format!(
            "Dir::State \"{dir}/state\";\n\
             Dir::State::status \"/dev/null\";\n\
             Dir::Cache \"{dir}/cache\";\n\
             Dir::Cache::pkgcache \"pkgcache.bin\";\n\
             Dir::Cache::srcpkgcache \"srcpkgcache.bin\";\n\
             Dir::Etc::sourcelist \"{dir}/sources.list\";\n\
             Dir::Etc::sourceparts \"-\";\n\
             Dir::Etc::preferences \"-\";\n\
             Dir::Etc::preferencesparts \"-\";\n\
             APT::Architecture \"{arch}\";\n\
             #clear APT::Architectures;\n\
             APT::Architectures {{ \"{arch}\"; }};\n\
             APT::Sandbox::User \"root\";\n\
             APT::Update::Error-Mode \"any\";\n\
             Acquire::Languages \"none\";\n\
             // A suite past its end of life stays as it was last signed.\n\
             Acquire::Check-Valid-Until \"false\";\n\
             // Hooks and further indexes of the system are not for this root.\n\
             #clear APT::Update::Post-Invoke;\n\
             #clear APT::Update::Post-Invoke-Success;\n\
             #clear DPkg::Post-Invoke;\n\
             #clear Acquire::IndexTargets::deb::DEP-11;\n\
             #clear Acquire::IndexTargets::deb::DEP-11-icons-small;\n\
             #clear Acquire::IndexTargets::deb::DEP-11-icons;\n"
        )
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The newest of some packages, by dpkg's comparison of versions.
pub fn newest(packages: Vec<Package>) -> Result<Option<Package>> {
    let mut best: Option<Package> = None;
    for package in packages {
        let newer = match &best {
            None => true,
            Some(best) => exec::capture(Command::new("dpkg").args([
                "--compare-versions",
                &package.version,
                "gt",
                &best.version,
            ]))?
            .status
            .success(),
        };
        if newer {
            best = Some(package);
        }
    }
    Ok(best)
}

/// Unpacks a .deb into a directory.
pub fn unpack(deb: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;
    exec::output(Command::new("dpkg-deb").arg("-x").arg(deb).arg(into)).map(drop)
}

fn sources(suites: &[String], arch: Arch, mirrors: &Mirrors, keyring: &Path) -> String {
    let mut text = String::new();
    for suite in suites {
        let uri = if suite.ends_with("-security") { &mirrors.security } else { &mirrors.archive };
        let options = format!("arch={} signed-by={}", arch.debian(), keyring.display());
        let _ = writeln!(text, "deb [{options}] {uri} {suite} main");
    }
    text
}

fn keyring() -> Result<PathBuf> {
    let find = || {
        let paths = ["gpg", "pgp"].map(|extension| PathBuf::from(format!("{KEYRING}.{extension}")));
        paths.into_iter().find(|path| path.is_file())
    };
    if let Some(path) = find() {
        return Ok(path);
    }
    if rustix::process::geteuid().is_root() {
        progress::step("installing debian-archive-keyring, to verify kernel packages", || {
            packages::install(&["debian-archive-keyring"])
        })?;
    }
    let Some(path) = find() else {
        bail!(
            "{KEYRING}.gpg, which verifies kernel packages, is missing: \
             run `sudo apt-get install debian-archive-keyring`"
        );
    };
    Ok(path)
}

/// `Inst name (version suite [arch])`, as apt-get says what it would do.
fn parse_planned(line: &str) -> Option<Package> {
    let mut words = line.strip_prefix("Inst ")?.split(' ');
    let name = words.next()?.to_owned();
    let version = words.next()?.strip_prefix('(')?.to_owned();
    Some(Package { name, version })
}

fn parse_stanzas(text: &str) -> Vec<Package> {
    let field = |stanza: &str, name: &str| {
        stanza.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim().to_owned())
    };
    text.split("\n\n")
        .filter_map(|stanza| {
            let name = field(stanza, "Package:")?;
            Some(Package { name, version: field(stanza, "Version:")? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_suites_come_from_the_security_archive() {
        let mirrors = Mirrors::new("http://a.example/debian/", None);
        let suites = ["trixie".to_owned(), "trixie-security".to_owned()];
        let text = sources(&suites, Arch::Amd64, &mirrors, Path::new("/k.gpg"));
        assert_eq!(
            text,
            "deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian trixie main\n\
             deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian-security trixie-security main\n"
        );
    }

    #[test]
    fn planned_installations_become_packages() {
        let plan = "Inst libc6 (2.43-7 Debian:unstable [amd64]) []\nConf libc6 (2.43-7 Debian)\n";
        let planned: Vec<_> = plan.lines().filter_map(parse_planned).collect();
        assert_eq!(planned, [Package { name: "libc6".into(), version: "2.43-7".into() }]);
    }

    #[test]
    fn stanzas_become_packages() {
        let text = "Package: a\nVersion: 1-1\n\nPackage: b\nDepends: c\nVersion: 2~bpo1\n\n";
        let package = |n: &str, v: &str| Package { name: n.into(), version: v.into() };
        assert_eq!(parse_stanzas(text), [package("a", "1-1"), package("b", "2~bpo1")]);
    }
}
