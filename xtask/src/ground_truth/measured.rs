//! Measured scenarios: read, chosen at random, turned into commands.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use flate2::read::GzDecoder;
use overflow_core::wire::Counts;
use serde::Deserialize;

use crate::lines::Connection;

/// Counters that show what the listener did; others depend on what else a host's stack does.
const COUNTERS: &[&str] = &[
    "EmbryonicRsts",
    "ListenDrops",
    "ListenOverflows",
    "SyncookiesFailed",
    "SyncookiesRecv",
    "SyncookiesSent",
    "TCPReqQFullDoCookies",
    "TCPReqQFullDrop",
];

/// One scenario as it was measured.
#[derive(Clone, Debug, Deserialize)]
pub struct Measured {
    /// The measured kernel: `deb6.1`.
    pub kernel: String,
    variant: String,
    backlog: u32,
    syncookies: u8,
    abort: u8,
    /// Connections completed before the burst.
    pub prefill: u32,
    burst: u32,
    delay_ms: u32,
    client_bytes: u32,
    /// What became of each connection of the burst, in order of `connect()`.
    pub classes: Vec<String>,
    counters: BTreeMap<String, u64>,
    /// SYNs of each; the whole set has them elsewhere.
    #[serde(default)]
    syns: Vec<u64>,
    #[serde(default)]
    synacks: Vec<u64>,
}

impl Measured {
    /// The name of its cell in a run.
    pub fn run_name(&self) -> String {
        format!("abort={},syncookies={}", self.abort, self.syncookies)
    }

    /// The command that runs it.
    pub fn argv(&self) -> Vec<String> {
        self.argv_with(&self.syncookies.to_string(), &self.abort.to_string())
    }

    fn argv_with(&self, syncookies: &str, abort: &str) -> Vec<String> {
        let words = format!(
            "overflow lab --output json --hold 8 --backlog {} --clients {} --prefill {} \
             --payload {} --delay {}ms --syncookies {syncookies} --abort-on-overflow {abort}",
            self.backlog, self.burst, self.prefill, self.client_bytes, self.delay_ms,
        );
        words.split_whitespace().map(str::to_owned).collect()
    }

    /// What scenarios of one run of the lab have in common; its sysctls may be `both`, but not 2.
    fn shape(&self) -> [u32; 5] {
        let forced = u32::from(self.syncookies == 2);
        [self.backlog, self.burst, self.prefill, self.client_bytes, forced]
    }

    /// Every scenario of a file.
    pub fn read(file: &Path) -> Result<Vec<Self>> {
        let context = || format!("cannot read {}", file.display());
        let reader = BufReader::new(GzDecoder::new(File::open(file).with_context(context)?));
        let parse = |line: std::io::Result<String>| {
            serde_json::from_str(&line.with_context(context)?).with_context(context)
        };
        reader.lines().map(parse).collect()
    }

    /// Whether it is this cell of the seed experiment.
    pub fn is_seed(&self, prefill: u32, syncookies: u8, abort: u8) -> bool {
        self.variant == "base"
            && (self.backlog, self.burst, self.delay_ms, self.client_bytes) == (1, 5, 200, 0)
            && (self.prefill, self.syncookies, self.abort) == (prefill, syncookies, abort)
    }

    /// Whether the lab can make it: the usual listener, SYNs before third ACKs, and a prefill that
    /// comes about on every kernel. Where the SYN queue is full at the backlog (before
    /// 3479c7549fb1), a backlog of 0 without cookies lets nobody in.
    fn comparable(&self) -> bool {
        let nobody = self.backlog == 0 && self.syncookies == 0 && self.prefill > 0;
        self.variant == "base" && self.delay_ms == 200 && !nobody
    }

    /// Whether each connection sent as many SYNs and got as many SYN-ACKs.
    pub fn same_packets(&self, burst: &[&Connection]) -> bool {
        let wire = burst.iter().map(|line| line.witnesses.as_ref()?.wire);
        let wire: Option<Vec<_>> = wire.map(|w| Some((w?.syn as u64, w?.synack as u64))).collect();
        let measured: Vec<_> =
            self.syns.iter().copied().zip(self.synacks.iter().copied()).collect();
        wire == Some(measured)
    }

    /// Whether the listener's counters rose alike.
    pub fn same_counters(&self, here: &Counts<'_>) -> bool {
        COUNTERS.iter().all(|name| {
            let (there, here) = (self.counters.get(*name), here.get(*name));
            there.copied().unwrap_or(0) == here.copied().unwrap_or(0)
        })
    }
}

/// The file whose kernel is of the series that `kernel` names.
pub fn file_of(data: &Path, kernel: &str) -> Result<PathBuf> {
    let series: Vec<_> = kernel.split(['.', '-']).take(2).collect();
    let path = data.join(format!("deb{}.jsonl.gz", series.join(".")));
    if !path.is_file() {
        bail!(
            "there is no {}: kernel {kernel} was not measured; name another with --kernels, or \
             another directory with --data",
            path.display()
        );
    }
    Ok(path)
}

/// Scenarios that differ in their sysctls alone: one run of the lab, which is quicker than many
/// because the tracer is loaded once.
pub struct Group {
    /// The command that runs them all, and perhaps others.
    pub argv: Vec<String>,
    /// The scenarios.
    pub scenarios: Vec<Measured>,
}

/// Random groups of a file with at least `n` scenarios, or all if there are not so many.
pub fn sample(file: &Path, n: usize, seed: u64) -> Result<Vec<Group>> {
    let mut groups: BTreeMap<[u32; 5], Vec<Measured>> = BTreeMap::new();
    for measured in Measured::read(file)?.into_iter().filter(Measured::comparable) {
        groups.entry(measured.shape()).or_default().push(measured);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut groups);
    let mut chosen = 0;
    let enough = groups.into_iter().take_while(|group| {
        let more = chosen < n;
        chosen += group.len();
        more
    });
    let group = |scenarios: Vec<Measured>| {
        let values: BTreeSet<_> = scenarios.iter().map(|m| m.syncookies.to_string()).collect();
        let one = values.first().filter(|_| values.len() == 1);
        let argv = scenarios[0].argv_with(one.map_or("both", String::as_str), "both");
        Group { argv, scenarios }
    };
    Ok(enough.map(group).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    fn data() -> PathBuf {
        workspace::root().join("overflow-user/tests/data/ground-truth")
    }

    #[test]
    fn every_kernel_gets_the_same_scenarios() {
        let sample = |kernel: &str| sample(&file_of(&data(), kernel).unwrap(), 30, 7).unwrap();
        let argv = |groups: &[Group]| groups.iter().map(|g| g.argv.clone()).collect::<Vec<_>>();
        let (old, new) = (sample("5.10.223-1"), sample("7.3"));
        let scenarios: Vec<_> = old.iter().flat_map(|group| &group.scenarios).collect();
        assert!((30..34).contains(&scenarios.len()), "{}", scenarios.len());
        assert_eq!(argv(&old), argv(&new));
        assert!(scenarios.iter().all(|m| m.syns.len() == m.classes.len()));
        // Nobody could be let in beforehand with a backlog of 0 and no cookies.
        let all = super::sample(&file_of(&data(), "7.3").unwrap(), 1000, 7).unwrap();
        let narrow = all.iter().map(|group| group.argv.join(" "));
        let narrow = narrow.filter(|a| a.contains("--backlog 0 ") && !a.contains("--prefill 0 "));
        let narrow: Vec<_> = narrow.collect();
        assert!(!narrow.is_empty() && narrow.iter().all(|a| !a.contains("--syncookies both")));
    }

    #[test]
    fn a_kernel_that_was_not_measured_is_refused() {
        let error = file_of(&data(), "6.16").unwrap_err().to_string();
        assert!(error.contains("kernel 6.16 was not measured"), "{error}");
    }
}
