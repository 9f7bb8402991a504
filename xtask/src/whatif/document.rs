//! docs/whatif.md and docs/whatif.json: predictions against what happened, by kernel and rung.

use std::{fmt::Write as _, fs, io::ErrorKind};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::judge::Judged;
use crate::{progress, workspace};

const INTRODUCTION: &str = "# What-if against what happened

Written by `cargo xtask whatif --write`; do not edit. The same figures as data are in `whatif.json`.

`overflow whatif FILE` says what another setting would have meant for the clients of a recording: for each
number of clients the most likely one and a range. This page says how near they come.

Each pair is a load that is drawn at random (bursts, a steady load, both; a server that accepts at
once, late, slowly or unevenly), played twice: once at one setting, recorded by `overflow trace --all
--record`, and once at another (backlogs from 1 to 512; in some pairs `tcp_abort_on_overflow` or
`tcp_syncookies` too). `overflow whatif` gets the first recording and predicts the second run, which
it has not seen. Compared are the clients that were refused (reset), delayed, and not in the accept
queue at the end.

*Near*: the most likely value of no number of clients is off by more than 2 % of all clients, or by more than
one. *Within bounds*: what happened lies in the range that was stated, to the client. *Range*: how wide the
widest range of a pair is, as a part of all clients, in half of the pairs at most. *As it was*: the model at the setting of the recording,
against the recording itself. Pairs in which nobody was hurt at either setting are easy, so the
others are counted apart.

Server and clients of a load share a machine of one processor in virtual time and its loopback
device, which delays every segment by 5 ms. Clients of a burst come 0.2 to 1 ms apart: closer together
it would be the scheduler that decides which of both gets on, and one load would not have the same end
twice. It does not always have it as it is: *the same setting twice* says how far apart two real runs of the same
load at the same setting are, and nobody can predict better than that.

How far a range reaches was chosen with these pairs in sight, so that all of them lie within; `--seed` draws
others.
";

/// Everything in the document.
#[derive(Default, Serialize, Deserialize)]
pub struct Document {
    /// By kernel and rung.
    runs: Vec<Ran>,
}

/// All pairs on one kernel by one rung.
#[derive(Serialize, Deserialize)]
pub struct Ran {
    /// Version of the kernel's package, or its release.
    pub kernel: String,
    /// How it was recorded.
    pub rung: String,
    /// What drew the pairs.
    pub seed: u64,
    /// Whether each pair is the same setting twice.
    #[serde(default)]
    pub same: bool,
    /// Each of them.
    pub pairs: Vec<Judged>,
}

/// Whether a pair is one of those that are counted.
type Counted = fn(&Judged) -> bool;

impl Ran {
    /// So many pairs of which this is true, of those that are counted.
    fn share(&self, counted: impl Fn(&Judged) -> bool, test: impl Fn(&Judged) -> bool) -> String {
        let all: Vec<_> = self.pairs.iter().filter(|pair| counted(pair)).collect();
        let some = all.iter().filter(|pair| test(pair)).count();
        let percent = 100 * some / all.len().max(1);
        format!("{some} of {} ({percent} %)", all.len())
    }

    /// Of these a page has one.
    fn key(&self) -> (&str, &str, bool) {
        (&self.kernel, &self.rung, self.same)
    }

    /// What its files are called.
    pub fn name(&self) -> String {
        let same = if self.same { "-same" } else { "" };
        format!("{}-{}-{}{same}", self.kernel.replace(' ', "-"), self.rung, self.seed)
    }

    /// Half of these pairs have no wider ranges, percent of all clients.
    fn width(&self, counted: impl Fn(&Judged) -> bool) -> f64 {
        let counted = self.pairs.iter().filter(|pair| counted(pair) && pair.failed.is_none());
        let mut widths: Vec<f64> = counted.map(|pair| 100.0 * pair.part(pair.width)).collect();
        widths.sort_unstable_by(f64::total_cmp);
        widths.get(widths.len() / 2).copied().unwrap_or(0.0)
    }

    /// As rows of a table, and what is off.
    pub fn render(&self) -> String {
        let twice = if self.same { ", the same setting twice" } else { "" };
        let mut text = format!(
            "\n## {}, by {}{twice}\n\nSeed {}, {} pairs, {} clients in the second runs.\n\n",
            self.kernel,
            self.rung,
            self.seed,
            self.pairs.len(),
            self.pairs.iter().map(|pair| pair.clients).sum::<u64>(),
        );
        let all: [(&str, Counted); 2] = [("all", |_| true), ("somebody hurt", Judged::hurts)];
        if self.same {
            text += "| pairs | second run near the first |\n|---|---|\n";
            for (name, counted) in all {
                let near = |pair: &Judged| pair.failed.is_none() && pair.is_near(pair.apart());
                let _ = writeln!(text, "| {name} | {} |", self.share(counted, near));
            }
            return text;
        }
        text +=
            "| pairs | near | within bounds | range | as it was, near |\n|---|---|---|---|---|\n";
        for (name, counted) in all {
            let as_it_was =
                |pair: &Judged| pair.failed.is_none() && pair.is_near(pair.off_as_it_was);
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {:.1} % | {} |",
                self.share(counted, Judged::near),
                self.share(counted, Judged::within),
                self.width(counted),
                self.share(counted, as_it_was),
            );
        }
        let off: Vec<_> = self.pairs.iter().enumerate().filter(|(_, pair)| !pair.near()).collect();
        if off.is_empty() {
            return text;
        }
        text += "\nThose that are off, with clients refused, delayed, not in:\n\n";
        text += "| pair | clients | recorded at | predicted for | recorded | predicted | happened | off | beyond bounds |\n";
        text += "|---|---|---|---|---|---|---|---|---|\n";
        for (number, pair) in off {
            if let Some(failed) = &pair.failed {
                let _ = writeln!(text, "| {number} | not compared: {failed} | | | | | | | |");
                continue;
            }
            let setting = |s: guest_cases::load::Setting| {
                format!("{}, abort {}, cookies {}", s.backlog, s.abort, s.syncookies)
            };
            let three = |n: [u64; 3]| format!("{}, {}, {}", n[0], n[1], n[2]);
            let _ = writeln!(
                text,
                "| {number} | {} | {} | {} | {} | {} | {} | {} | {} |",
                pair.clients,
                setting(pair.pair.recorded),
                setting(pair.pair.predicted),
                three(pair.recorded),
                three(pair.predicted),
                three(pair.happened),
                pair.off,
                pair.beyond,
            );
        }
        text
    }
}

impl Document {
    /// Puts these in the place of earlier ones of the same kernel and rung.
    pub fn update(ran: Vec<Ran>) -> Result<()> {
        let dir = workspace::root().join("docs");
        let json = dir.join("whatif.json");
        let mut document: Self = match fs::read(&json) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is not as written here", json.display()))?,
            Err(e) if e.kind() == ErrorKind::NotFound => Self::default(),
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", json.display())),
        };
        for ran in ran {
            document.runs.retain(|other| other.key() != ran.key());
            document.runs.push(ran);
        }
        document.runs.sort_by(|a, b| a.key().cmp(&b.key()));
        let mut text = INTRODUCTION.to_owned();
        for ran in &document.runs {
            text += &ran.render();
        }
        for (path, text) in
            [(json, serde_json::to_string(&document)? + "\n"), (dir.join("whatif.md"), text)]
        {
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            progress::note(&format!("wrote {}", path.display()));
        }
        Ok(())
    }
}
