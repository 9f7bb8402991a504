//! The rows of the benchmark as data: what is attached, how much load it gets, and what others
//! measured for it.

use guest_bench::job::{Amount, Hook, HookKind, Job, What};
use serde::Serialize;

/// Where the script that does the nearest thing lies in the VM.
pub const SCRIPT: &str = "etc/full.bt";

/// The functions that every handshake passes, each once; empty programs on them say what any
/// tracer pays at least.
const FUNCTIONS: [&str; 3] = ["tcp_conn_request", "tcp_check_req", "tcp_v4_syn_recv_sock"];

/// What `overflow trace` is to say of each kind of drop; inferred verdicts have a mark before them.
const VERDICTS: [&str; 4] = [
    "syn.drop.accept_queue_full",
    "ack.drop.overflow",
    "ack.reset.overflow",
    "ack.drop.overflow.cookie",
];

/// One row.
pub struct Row {
    /// By which `--only` names it.
    pub name: &'static str,
    /// What it is, in the document.
    pub title: &'static str,
    /// The table it is in.
    pub table: Table,
    /// What the VM does for it.
    pub job: Job,
    /// What others measured.
    pub reference: Option<Reference>,
}

/// A table of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// Rows that show whether the method reproduces.
    Calibration,
    /// This tool.
    Overflow,
    /// What people would use instead.
    Peers,
}

/// Instructions added, as an independent program measured them on kernel 6.12.107.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Reference {
    /// For a healthy handshake.
    pub handshake: Option<i64>,
    /// For a SYN to a full accept queue.
    pub syn_dropped: Option<i64>,
    /// For a third ACK to a full accept queue.
    pub ack_dropped: Option<i64>,
}

/// How much load a row gets; less where each segment makes many records.
const LOAD: Amount = Amount { rounds: 2, healthy: 2000, drops: 500 };
const LIGHT: Amount = Amount { rounds: 1, healthy: 100, drops: 50 };

const fn reference(handshake: i64, syn_dropped: i64, ack_dropped: i64) -> Reference {
    Reference {
        handshake: Some(handshake),
        syn_dropped: Some(syn_dropped),
        ack_dropped: Some(ack_dropped),
    }
}

/// Every row, in the order of the document.
pub fn all() -> Vec<Row> {
    let mut rows = calibration();
    rows.extend(overflow());
    rows.extend(peers());
    rows
}

fn calibration() -> Vec<Row> {
    let empty = |name, title, kind, reference| Row {
        name,
        title,
        table: Table::Calibration,
        job: job(What::Empty(hooks(kind)), LOAD),
        reference,
    };
    vec![
        Row {
            name: "nothing",
            title: "nothing",
            table: Table::Calibration,
            job: job(What::Nothing, LOAD),
            reference: Some(reference(0, 0, 0)),
        },
        empty("empty-fentry", "3 fentry", HookKind::Fentry, Some(reference(398, 132, 270))),
        empty("empty-fexit", "3 fexit", HookKind::Fexit, Some(reference(563, 187, 380))),
        empty(
            "empty-fexit-reads",
            "3 fexit that read and compare both accept queue fields",
            HookKind::FexitReads,
            Some(reference(620, 206, 418)),
        ),
        empty("empty-kprobe", "3 kprobe", HookKind::Kprobe, Some(reference(1067, 357, 714))),
        empty(
            "empty-kretprobe",
            "3 kretprobe",
            HookKind::Kretprobe,
            Some(reference(1904, 636, 1272)),
        ),
    ]
}

fn overflow() -> Vec<Row> {
    let row = |name, title, options: &str| Row {
        name,
        title,
        table: Table::Overflow,
        job: Job {
            floor: true,
            verdicts: VERDICTS.map(str::to_owned).to_vec(),
            ..tool(&format!("/bin/overflow trace{options}"))
        },
        reference: None,
    };
    vec![
        row("trace", "`overflow trace`", ""),
        row("trace-kprobe", "`overflow trace --rung kprobe`", " --rung kprobe"),
        row("trace-tracepoint", "`overflow trace --rung tracepoint`", " --rung tracepoint"),
        row("trace-json", "`overflow trace --output json`", " --output json"),
        row("trace-all", "`overflow trace --all`", " --all"),
        row("trace-summary", "`overflow trace --summary 10`", " --summary 10"),
    ]
}

fn peers() -> Vec<Row> {
    let row =
        |name, title, job, reference| Row { name, title, table: Table::Peers, job, reference };
    let bpftrace = |script: &str| tool(&format!("/usr/bin/bpftrace -B line {script}"));
    let pwru = |functions: Option<String>, output: &str| {
        let mut job = tool("/usr/bin/pwru --output-tuple");
        if let What::Tool(argv) = &mut job.what {
            argv.extend(output.split_whitespace().map(str::to_owned));
            argv.extend(functions.map(|names| format!("--filter-func=^({names})$")));
            argv.push("tcp port 8080".to_owned());
        }
        // It works for seconds between its programs and their attachment.
        Job { load: LIGHT, settle_ms: 6000, ..job }
    };
    vec![
        row(
            "tcpsynbl-bt",
            "bpftrace `tcpsynbl.bt`",
            bpftrace("/usr/sbin/tcpsynbl.bt"),
            Some(reference(888, 0, 1088)),
        ),
        row(
            "tcpdrop-bt",
            "bpftrace `tcpdrop.bt`",
            bpftrace("/usr/sbin/tcpdrop.bt"),
            Some(reference(0, 0, 698)),
        ),
        row(
            "full-bt",
            "bpftrace, 2 fexit and 1 kprobe on the same functions, prints only when full",
            bpftrace(&format!("/{SCRIPT}")),
            None,
        ),
        row(
            "tcpsynbl-libbpf",
            "libbpf-tools `tcpsynbl`",
            tool("/usr/sbin/tcpsynbl-libbpf"),
            Some(reference(473, 0, 474)),
        ),
        row(
            "pwru-3",
            "pwru `tcp port 8080`, only the 3 functions",
            pwru(Some(FUNCTIONS.join("|")), "--output-meta"),
            Some(reference(10_250, 3483, 6767)),
        ),
        row(
            "pwru",
            "pwru `tcp port 8080`",
            pwru(None, ""),
            Some(reference(247_700, 84_940, 75_025)),
        ),
    ]
}

fn hooks(kind: HookKind) -> Vec<Hook> {
    FUNCTIONS.iter().map(|&target| Hook { kind, target: target.to_owned() }).collect()
}

fn tool(line: &str) -> Job {
    job(What::Tool(line.split(' ').map(str::to_owned).collect()), LOAD)
}

fn job(what: What, load: Amount) -> Job {
    Job { what, load, settle_ms: 1500, floor: false, verdicts: Vec::new() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_tools_are_named_by_path() {
        let rows = all();
        assert_eq!(rows.iter().map(|row| row.name).collect::<BTreeSet<_>>().len(), rows.len());
        for row in &rows {
            if let What::Tool(argv) = &row.job.what {
                assert!(argv[0].starts_with('/'), "{argv:?}");
                assert!(argv.iter().all(|word| !word.is_empty()), "{argv:?}");
            }
        }
    }
}
