//! Recordings that were kept, and what `overflow whatif` says of them now.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use guest_cases::load::{Pair, Played, Setting, port, question};

use super::{TOGETHER, document::Ran, folder, judge::Judged, series};
use crate::{arch::Arch, artifacts, exec};

/// What a job's files are called by the program that wrote them: of the first setting, and the second.
const ENDINGS: [&str; 2] = ["a.rec", "b.rec"];

/// Keeps the recordings of a run, by job.
pub(super) fn recordings(ran: &Ran, files: &[Vec<(String, Vec<u8>)>]) -> Result<()> {
    for (job, files) in files.iter().enumerate() {
        for (name, bytes) in files {
            let Some(ending) = ENDINGS.iter().find(|ending| name.ends_with(*ending)) else {
                continue;
            };
            let path = folder()?.join(format!("{}-{job}-{ending}", ran.name()));
            fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

/// Judges all that were kept anew.
pub(super) fn again() -> Result<Vec<Ran>> {
    let overflow = artifacts::overflow(Arch::HOST)?;
    let dir = folder()?;
    let mut all = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let ran = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut ran: Ran = serde_json::from_slice(&ran)
            .with_context(|| format!("{} is not as written here", path.display()))?;
        let name = ran.name();
        let recording = |number: usize, which: usize| {
            dir.join(format!("{name}-{}-{}", number / TOGETHER, ENDINGS[which]))
        };
        if !recording(0, 0).is_file() {
            continue;
        }
        let release = series(&ran.kernel).to_owned();
        for (number, judged) in ran.pairs.iter_mut().enumerate() {
            let pair = judged.pair.clone();
            let ask = |which, setting| {
                ask(&overflow, &pair, &recording(number, which), number, &release, setting)
            };
            let (predicted, happened) = (ask(0, Some(pair.predicted))?, ask(1, None)?);
            *judged = Judged::of(&pair, &Played { predicted, happened, failed: None });
        }
        all.push(ran);
    }
    if all.is_empty() {
        bail!("{} holds no recordings; --keep leaves some there", dir.display());
    }
    all.sort_by_key(Ran::name);
    Ok(all)
}

fn ask(
    overflow: &Path,
    pair: &Pair,
    recording: &Path,
    number: usize,
    release: &str,
    setting: Option<Setting>,
) -> Result<Vec<serde_json::Value>> {
    let recording = recording.to_str().context("the path is no text")?;
    let words = question(pair, recording, port(number % TOGETHER), release, setting);
    let out = exec::capture(Command::new(overflow).args(words))?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr).trim());
    let text = String::from_utf8(out.stdout)?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}
