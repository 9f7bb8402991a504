//! Recordings that were kept, and what `overflow whatif` says of them now.

use std::{
    fs::{self, File},
    io::{BufReader, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::{Compression, write::GzEncoder};
use guest_cases::load::{Pair, Played, Setting, port, question};

use overflow_core::recording::{Frame, Recorder, Recording};

use super::{TOGETHER, document::Ran, folder, judge::Judged, series};
use crate::{arch::Arch, artifacts, exec, workspace};

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
    let mut all = runs()?;
    for ran in &mut all {
        let release = series(&ran.kernel).to_owned();
        let name = ran.name();
        for (number, judged) in ran.pairs.iter_mut().enumerate() {
            let pair = judged.pair.clone();
            let ask = |which, setting| {
                let recording = recording(&name, number, which)?;
                ask(&overflow, &pair, &recording, number, &release, setting)
            };
            let (predicted, happened) = (ask(0, Some(pair.predicted))?, ask(1, None)?);
            *judged = Judged::of(&pair, &Played { predicted, happened, failed: None });
        }
    }
    Ok(all)
}

/// Writes each of these pairs of every run as test data: a recording of either setting, of its own
/// listener alone, and the pair.
pub(super) fn cut(only: &[usize]) -> Result<()> {
    let to = workspace::root().join("crates/core/tests/data/whatif");
    fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    for ran in runs()? {
        let name = ran.name();
        for number in only.iter().copied().filter(|number| *number < ran.pairs.len()) {
            let one = format!("{}-{}-{number}", series(&ran.kernel), ran.seed);
            let write = |ending: &str, bytes: &[u8]| {
                let path = to.join(format!("{one}.{ending}"));
                fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
            };
            for (which, ending) in ENDINGS.iter().enumerate() {
                let bytes = alone(&recording(&name, number, which)?, port(number % TOGETHER))?;
                write(&format!("{ending}.gz"), &bytes)?;
            }
            let pair = serde_json::to_string_pretty(&ran.pairs[number].pair)? + "\n";
            write("json", pair.as_bytes())?;
        }
    }
    Ok(())
}

/// What a recording holds of a port, packed.
fn alone(path: &Path, port: u16) -> Result<Vec<u8>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut recording = Recording::read(path, BufReader::new(file))?;
    let mut recorder = Recorder::new(Vec::new(), recording.header())?;
    while let Some(frame) = recording.next_frame()? {
        let frame = match frame {
            Frame::Event(event) if event.server_port != port => continue,
            Frame::Inventory(mut inventory) => {
                inventory.listeners.retain(|listener| listener.local.port() == port);
                Frame::Inventory(inventory)
            }
            Frame::Aggregates(..) | Frame::Look(_) | Frame::Evidence(_) => continue,
            Frame::Opened(listener) if listener.local.port() != port => continue,
            frame => frame,
        };
        recorder.write(&frame)?;
    }
    recorder.flush()?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(recorder.get_ref())?;
    Ok(packed.finish()?)
}

/// Those of which recordings were kept.
fn runs() -> Result<Vec<Ran>> {
    let dir = folder()?;
    let mut all = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let ran = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let ran: Ran = serde_json::from_slice(&ran)
            .with_context(|| format!("{} is not as written here", path.display()))?;
        if recording(&ran.name(), 0, 0)?.is_file() {
            all.push(ran);
        }
    }
    if all.is_empty() {
        bail!("{} holds no recordings; --keep leaves some there", dir.display());
    }
    all.sort_by_key(Ran::name);
    Ok(all)
}

/// Where the recording of a pair is: at its first setting (0), or at its second (1).
fn recording(name: &str, number: usize, which: usize) -> Result<PathBuf> {
    Ok(folder()?.join(format!("{name}-{}-{}", number / TOGETHER, ENDINGS[which])))
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
