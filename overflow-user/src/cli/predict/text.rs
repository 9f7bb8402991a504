//! Predictions for people, at most 80 columns.

use std::io::{self, Write};

use overflow_core::{
    model::{
        compare::Divergence,
        condition::{Condition, Decision},
        config::Limits,
        counters::Counters,
        features::SynQueueTest,
        kernels::{self, Kernel},
        path::Path,
        scenario::Phase,
        simulate::Outcome,
    },
    text::{
        duration::seconds,
        wrap::{Flow, WIDTH},
    },
};

/// More groups of connections with the same fate are not told apart.
const GROUPS: usize = 24;
/// Most times listed for what happened again.
const TIMES: usize = 6;

/// What was asked.
pub(super) fn question(out: &mut dyn Write, words: &str) -> io::Result<()> {
    hanging(out, "question      ", words)
}

/// What the kernel is, and the two tests that all the rest follows from.
pub(super) fn kernel(out: &mut dyn Write, kernel: &Kernel, limits: Limits) -> io::Result<()> {
    let test = kernel.features.syn_queue;
    let queue = Condition::SynQueue { test, qlen: 0, limit: 0 };
    writeln!(out, "kernel        {} (rule {})", kernel.name, kernel.features.regime())?;
    writeln!(out, "SYN queue     holds {}, full if", limits.syn_queue_full_at(test))?;
    writeln!(out, "              {}", queue.expression())?;
    if test != SynQueueTest::MaxQlenLog && limits.syn_queue_full_at(test) == 0 {
        writeln!(out, "              which is always so: without cookies nobody can connect")?;
    }
    let holds = u64::from(limits.max_ack_backlog) + 1;
    writeln!(out, "accept queue  holds {holds}, full if sk_ack_backlog > sk_max_ack_backlog")?;
    if kernel.features.young_rule {
        let rule = "a SYN finds it full only if more than one request in the SYN queue is young, \
                    its SYN-ACK never retransmitted";
        wrapped(out, 14, rule)?;
    }
    if let Some(doubt) = &kernel.doubt {
        hanging(out, "note          ", doubt)?;
    }
    Ok(())
}

/// What is known by name.
pub(super) fn kernels(out: &mut dyn Write) -> io::Result<()> {
    let text = "The rule of each kernel when its queues are full (overflow explain syn-queue-limit). A \
                name stands for the distribution's last kernel, a series for its first release, and \
                each holds until the next one. Kernels that others patch get both answers.";
    hanging(out, "", text)?;
    writeln!(out)?;
    for (name, rule, note) in kernels::list() {
        let label = format!("{rule:<3} {name:<40}");
        if note.is_empty() {
            writeln!(out, "{}", label.trim_end())?;
        } else if name.len() < 40 {
            hanging(out, &label, &note)?;
        } else {
            writeln!(out, "{}", label.trim_end())?;
            hanging(out, &" ".repeat(label.len()), &note)?;
        }
    }
    Ok(())
}

/// The connections of one cell, equal ones together, and the server's counters.
pub(super) fn cell(
    out: &mut dyn Write,
    name: &str,
    outcome: &Outcome<'_>,
    random: bool,
) -> io::Result<()> {
    writeln!(out, "\n{name}")?;
    let paths = outcome.paths;
    for phase in [Phase::Prefill, Phase::Burst] {
        let first = paths.iter().position(|p| p.phase == phase).unwrap_or(paths.len());
        let paths = &paths[first..];
        let paths = &paths[..paths.iter().take_while(|p| p.phase == phase).count()];
        connections(out, phase, paths)?;
    }
    counters(out, &outcome.counters)?;
    if random {
        let text = "the key of this kernel's SYN table is random and decides which SYN-ACKs are \
                    retransmitted first, and by that what becomes of some connection; above is \
                    the most likely case";
        hanging(out, "  random      ", text)?;
    }
    Ok(())
}

fn connections(out: &mut dyn Write, phase: Phase, paths: &[Path]) -> io::Result<()> {
    let kind = if phase == Phase::Prefill { "prefill" } else { "client" };
    let mut groups: Vec<(usize, usize)> = Vec::new();
    let mut i = 0;
    while i < paths.len() {
        let alike = paths[i..].iter().take_while(|p| same(p, &paths[i])).count();
        groups.push((i, alike));
        i += alike;
    }
    if groups.len() > GROUPS {
        return classes(out, kind, paths);
    }
    for (i, alike) in groups {
        let number = match alike {
            1 => format!("{kind} {}", i + 1),
            _ => format!("{kind} {} to {}", i + 1, i + alike),
        };
        let path = &paths[i];
        let server = path.server.as_str().unwrap_or("nothing");
        let (class, client) = (path.class(), path.client.as_str());
        writeln!(out, "  {number}: {class}; client {client}, server {server}")?;
        // Of the prefill only what did not just work is worth a page.
        if phase == Phase::Burst || class.as_str() != "ACCEPTED" {
            stages(out, path)?;
        }
    }
    Ok(())
}

/// How many connections are of each class, and one of them as an example.
fn classes(out: &mut dyn Write, kind: &str, paths: &[Path]) -> io::Result<()> {
    let mut known: Vec<(&str, usize, usize)> = Vec::new();
    for (i, path) in paths.iter().enumerate() {
        let class = path.class();
        match known.iter_mut().find(|(name, ..)| *name == class.as_str()) {
            Some((_, count, _)) => *count += 1,
            None => known.push((class.as_str(), 1, i)),
        }
    }
    let all = paths.len();
    let text = format!("{all} {kind}s, each of its own fate; --output json has every one");
    hanging(out, "  ", &text)?;
    for (class, count, example) in known {
        let path = &paths[example];
        let server = path.server.as_str().unwrap_or("nothing");
        let client = path.client.as_str();
        writeln!(out, "  {count} of them: {class}; client {client}, server {server}")?;
        hanging(out, "      ", &format!("for example {kind} {}:", example + 1))?;
        stages(out, path)?;
    }
    Ok(())
}

/// Same decisions for the same reasons; times differ by the spacing of the burst.
fn same(a: &Path, b: &Path) -> bool {
    let key = |p: &Path| (p.client, p.server, p.reset_on, p.decisions.len());
    let reasons = |p: &Path| p.decisions.iter().map(|d| (d.id, d.condition)).collect::<Vec<_>>();
    key(a) == key(b) && reasons(a) == reasons(b)
}

fn stages(out: &mut dyn Write, path: &Path) -> io::Result<()> {
    let mut decisions = path.decisions.as_slice();
    while let Some((first, rest)) = decisions.split_first() {
        let again = rest.iter().take_while(|d| d.id == first.id).count();
        decision(out, first)?;
        if again > 0 {
            let mut times: Vec<_> =
                rest[..again].iter().take(TIMES).map(|d| seconds(d.t_ns)).collect();
            if again > TIMES {
                times.push("...".to_owned());
            }
            wrapped(out, 14, &format!("again at {} s", times.join(", ")))?;
        }
        decisions = &rest[again..];
    }
    Ok(())
}

fn decision(out: &mut dyn Write, decision: &Decision) -> io::Result<()> {
    let Decision { id, t_ns, condition } = decision;
    writeln!(out, "  {:>8} s  {id:<28}{}", seconds(*t_ns), condition.function())?;
    wrapped(out, 14, &condition.to_string())
}

fn counters(out: &mut dyn Write, counters: &Counters) -> io::Result<()> {
    let values = serde_json::to_value(counters)?;
    let increments: Vec<_> = values
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| value.as_u64() != Some(0))
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let text = if increments.is_empty() { "none rises".to_owned() } else { increments.join(", ") };
    hanging(out, "  counters    ", &text)
}

/// Where two kernels part ways.
pub(super) fn divergence(
    out: &mut dyn Write,
    names: [&str; 2],
    cell: &str,
    prefill: usize,
    divergence: Option<&Divergence>,
) -> io::Result<()> {
    writeln!(out, "\n{cell}")?;
    let Some(divergence) = divergence else {
        return writeln!(out, "  both do the same to every connection");
    };
    let client = match divergence.client.checked_sub(prefill) {
        Some(i) => format!("client {}", i + 1),
        None => format!("prefill {}", divergence.client + 1),
    };
    writeln!(out, "  {client} is the first to be treated differently")?;
    for (name, decided) in names.into_iter().zip([divergence.left, divergence.right]) {
        writeln!(out, "  {name}")?;
        match decided {
            Some(decided) => {
                decision(out, &decided)?;
                wrapped(out, 14, decided.condition.expression())?;
            }
            None => writeln!(out, "              nothing more happens")?,
        }
    }
    Ok(())
}

/// Words after a label, the further lines under the first word.
fn hanging(out: &mut dyn Write, label: &str, text: &str) -> io::Result<()> {
    let margin = " ".repeat(label.len());
    let flow = Flow { first: label, rest: &margin, ..Flow::new(WIDTH) };
    flow.lines(text).iter().try_for_each(|line| writeln!(out, "{line}"))
}

fn wrapped(out: &mut dyn Write, indent: usize, text: &str) -> io::Result<()> {
    hanging(out, &" ".repeat(indent), text)
}
