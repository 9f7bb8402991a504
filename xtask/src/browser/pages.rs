//! Pages to look at: of recordings and captures that the repository has, of the model, and of the lab
//! where it can run.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;

use crate::{exec, workspace};

/// A recording of every scenario of the lab.
const RECORDING: &str = "overflow-user/tests/data/lab-6.12.rec.gz";
/// One whose clients are asked what another setting would have meant for them.
const CLIENTS: &str = "crates/core/tests/data/whatif/5.10.262-2-41.a.rec.gz";
/// A capture of the first.
const CAPTURE: &str = "crates/core/tests/data/captures/lab-6.12.pcapng.gz";

/// Each page by its name, and the command that makes it but for `--report`.
const PAGES: &[(&str, &[&str])] = &[
    ("trace-all", &["replay", "RECORDING", "--all"]),
    ("trace", &["replay", "RECORDING"]),
    ("trace-one", &["replay", "RECORDING", "--all", "--addr", "10.7.1.1"]),
    ("pcap", &["pcap", "CAPTURE", "--all"]),
    (
        "whatif",
        &["whatif", "CLIENTS", "--backlog", "16,20,512", "--accept-rate", "100", "--advise"],
    ),
    ("predict", &["predict", "--kernel", "centos7"]),
    ("compare", &["predict", "--compare", "centos7,6.12.107"]),
];

/// A page of the lab, where it can run.
pub(super) const LAB: (&str, &[&str]) = ("lab", &["lab", "--hold", "3"]);

/// Makes pages in a directory.
pub(super) struct Pages {
    overflow: PathBuf,
    dir: PathBuf,
}

impl Pages {
    /// With this program; what was in the directory is gone.
    pub(super) fn new(overflow: PathBuf) -> Result<Self> {
        let dir = workspace::target().join("browser");
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        unpack(RECORDING, &dir.join("RECORDING"))?;
        unpack(CLIENTS, &dir.join("CLIENTS"))?;
        unpack(CAPTURE, &dir.join("CAPTURE"))?;
        Ok(Self { overflow, dir })
    }

    /// What makes them.
    pub(super) fn overflow(&self) -> &Path {
        &self.overflow
    }

    /// Where they are.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The names of all that can be made anywhere.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        PAGES.iter().map(|(name, _)| *name)
    }

    /// Makes a page; its path.
    pub(super) fn make(&self, name: &str) -> Result<PathBuf> {
        let known = PAGES.iter().chain([&LAB]).find(|(known, _)| *known == name);
        let (_, args) = known.with_context(|| format!("there is no page {name}"))?;
        let path = self.dir.join(format!("{name}.html"));
        let mut command = Command::new(&self.overflow);
        command.args(*args).arg("--overwrite").arg("--report").arg(&path).current_dir(&self.dir);
        let out = exec::capture_within(&mut command, Duration::from_mins(2))?;
        // The lab also fails where its witnesses disagree, which is looked at elsewhere.
        if !fs::metadata(&path).is_ok_and(|page| page.len() > 0) {
            exec::succeeded(&command, &out)?;
        }
        Ok(path)
    }
}

fn unpack(packed: &str, to: &Path) -> Result<()> {
    let path = workspace::root().join(packed);
    let packed = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut file = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
    io::copy(&mut GzDecoder::new(packed), &mut file)?;
    Ok(())
}
