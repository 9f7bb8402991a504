//! The seed experiment: backlog 1, five clients at once, nobody accepts. What the lab saw on
//! kernels that boot, what was measured on all.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::{
    exec,
    ground_truth::{classes, measured::Measured},
    lines,
    vm::JobOutput,
    workspace,
};

/// An empty queue, and one with a single slot left.
pub const PREFILLS: [u32; 2] = [0, 1];

/// The cells of the experiment: `tcp_syncookies`, `tcp_abort_on_overflow`.
pub const CELLS: [(u8, u8); 4] = [(1, 0), (1, 1), (0, 0), (0, 1)];

/// The measured kernels: the name of the file, what it is, whether it can be booted here.
const KERNELS: [(&str, &str, bool); 9] = [
    ("el7-3.10.0-1160", "CentOS 7: 3.10.0-1160", false),
    ("van4.4.155", "4.4.155", false),
    ("el8-4.18.0-147", "RHEL 8: 4.18.0-147", false),
    ("van5.4.273", "5.4.273", false),
    ("deb5.10", "5.10.223", true),
    ("deb6.1", "6.1.176", true),
    ("deb6.12", "6.12.107", true),
    ("deb6.18", "6.18.15", true),
    ("deb7.3", "7.3.4", true),
];

/// By prefill and cell, the burst in letters: `A A C C C`.
pub type Seeds = [[String; CELLS.len()]; PREFILLS.len()];

/// What was measured on a kernel.
pub struct MeasuredSeed {
    /// What it is.
    pub kernel: &'static str,
    /// Whether it can be booted here.
    pub bootable: bool,
    /// Its outcome.
    pub seeds: Seeds,
}

/// The four cells of one run of the lab.
pub fn read(output: &JobOutput) -> Result<[String; CELLS.len()]> {
    let lines = lines::read(&output.stdout)?;
    let burst = classes::burst(lines::connections(&lines));
    if burst.is_empty() {
        bail!("it has no connections: {}", exec::complaint(&output.stderr));
    }
    if let Some(odd) = burst.iter().find(|line| line.agree != Some(true)) {
        bail!("witnesses disagree: {}", odd.disagreement.as_deref().unwrap_or("no reason given"));
    }
    let mut cells: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for line in burst {
        let run = line.run.as_deref().unwrap_or_default();
        cells.entry(run).or_default().push(classes::class(line));
    }
    let of = |(syncookies, abort): (u8, u8)| {
        let name = format!("abort={abort},syncookies={syncookies}");
        // A family may follow the name.
        let cell = cells.iter().find(|(run, _)| run.starts_with(&name));
        cell.map_or_else(String::new, |(_, classes)| letters(classes))
    };
    Ok(CELLS.map(of))
}

/// The experiment on every measured kernel, from the measurements in overflow-user/tests/data.
pub fn measured() -> Result<Vec<MeasuredSeed>> {
    let data = workspace::root().join("overflow-user/tests/data/ground-truth");
    let mut found = Vec::new();
    for (file, kernel, bootable) in KERNELS {
        let all = Measured::read(&data.join(format!("{file}.jsonl.gz")))?;
        let cell = |prefill, (syncookies, abort)| {
            let seed = all.iter().find(|m| m.is_seed(prefill, syncookies, abort));
            seed.map_or_else(String::new, |m| letters(&m.classes))
        };
        let seeds = PREFILLS.map(|prefill| CELLS.map(|c| cell(prefill, c)));
        found.push(MeasuredSeed { kernel, bootable, seeds });
    }
    Ok(found)
}

/// One letter a connection; a star where only a retransmitted SYN was answered. Whose retransmitted
/// SYN comes first, and finds the room that one of them finds, is a matter of timers that fire
/// together: of the clients whose first SYN was dropped, those with a star come first.
fn letters(classes: &[String]) -> String {
    let letter = |class: &String| {
        let (word, late) = match class.strip_suffix("(syn_rexmit)") {
            Some(word) => (word, "*"),
            None => (class.as_str(), ""),
        };
        let letter = match word {
            "ACCEPTED" => "A",
            "RST_ON_ACK" => "R",
            "RST_ON_DATA" => "Rd",
            "ACK_DROPPED_REXMIT" => "D",
            "ACK_DROPPED_COOKIE" => "C",
            "SYN_DROPPED" => "S",
            _ => "?",
        };
        format!("{letter}{late}")
    };
    let mut letters: Vec<String> = classes.iter().map(letter).collect();
    let retried = |letter: &String| letter == "S" || letter.ends_with('*');
    let mut again: Vec<String> = letters.iter().filter(|l| retried(l)).cloned().collect();
    again.sort_by_key(|letter| letter == "S");
    let places = letters.iter_mut().filter(|l| retried(l));
    places.zip(again).for_each(|(place, letter)| *place = letter);
    letters.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measurements_hold_every_cell_of_every_kernel() {
        let measured = measured().unwrap();
        let cells = measured.iter().flat_map(|m| m.seeds.iter().flatten());
        assert!(
            cells.clone().all(|cell| cell.split(' ').count() == 5),
            "{:?}",
            cells.collect::<Vec<_>>()
        );
        assert_eq!(measured[0].seeds[0], ["A A D D D", "A A R R R", "A A D D D", "A A R R R"]);
        assert_eq!(measured[8].seeds[0][1], "A A C C C");
    }

    #[test]
    fn classes_become_letters() {
        let classes = ["ACCEPTED", "RST_ON_ACK(syn_rexmit)", "SYN_DROPPED"].map(str::to_owned);
        assert_eq!(letters(&classes), "A R* S");
        let classes = ["SYN_DROPPED", "ACCEPTED", "ACCEPTED(syn_rexmit)"].map(str::to_owned);
        assert_eq!(letters(&classes), "A* A S");
    }
}
