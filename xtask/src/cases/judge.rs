//! What a case must show against what was said. Pure.

use std::{collections::BTreeMap, ops::RangeInclusive};

use guest_cases::{
    job::{Listener, Report},
    said::{self, Charged},
};
use overflow_core::verdict::{Counter, VerdictId};
use serde_json::Value;

use super::case::{Case, Count, Losses, Mode, TOLERATED, Told};
use crate::matrix::Rung;

/// Everything that is wrong, one sentence each.
pub fn judge(case: &Case, mode: Mode, rung: Rung, report: &Report) -> Vec<String> {
    let mut wrong: Vec<_> =
        report.wrong.iter().map(|why| format!("in the script: {why}")).collect();
    if let Some(why) = &report.failed {
        return vec![format!("in the script: {why}")];
    }
    let counted = |actor: &str, counter: &str| {
        report.counters.get(actor).and_then(|all| all.get(counter)).copied().unwrap_or(0)
    };
    for &(actor, counter, expected) in case.counters {
        let found = counted(actor, counter);
        if found != expected {
            wrong.push(format!("{counter} of {actor} rose by {found}, the case has {expected}"));
        }
    }
    if case.storm {
        wrong.extend(storm(report));
        wrong.extend(audit(report));
        return wrong;
    }
    let by_tracepoints = if rung == Rung::Tracepoint { case.by_tracepoints } else { None };
    let mut expected: Vec<Told> = by_tracepoints.unwrap_or(case.told).to_vec();
    if by_tracepoints.is_none() && !case.filtered {
        wrong.extend(own_sums(case, report));
    }
    if mode != Mode::Default {
        expected.extend(case.all);
    }
    let expected: Vec<_> = expected
        .iter()
        .map(|told| match told.count {
            Count::Exactly(count) => (told, count..=count),
            Count::UpTo(count) => (told, 0..=count),
            Count::AsRose(actor, counter) => {
                let rose = counted(actor, counter);
                if rose == 0 {
                    wrong.push(format!("the case is void: {counter} of {actor} did not rise"));
                }
                (told, rose..=rose)
            }
        })
        .collect();
    let said = &report.said;
    if !said.ended {
        wrong.push("the tool ended without a summary".to_owned());
    }
    if mode != Mode::Summary {
        wrong.extend(compare("", case, &expected, &said.events, report));
    }
    wrong.extend(compare("in the totals: ", case, &expected, &said.totals, report));
    for name in case.not_full {
        let of = |charged: &Charged| report.listeners.get(*name).is_some_and(|of| is(charged, of));
        if said.queues.iter().any(|queue| queue.full_now && of(&queue.charged)) {
            wrong.push(format!("{name} is said to be full still, but is empty"));
        }
    }
    match case.losses {
        Losses::Nothing => {
            let losses = said.losses.iter();
            wrong.extend(losses.map(|(what, count)| format!("said that {count} {what} were lost")));
        }
        Losses::Complete => {
            let told: u64 = said.events.iter().map(|told| told.count).sum();
            let lost: u64 = said.losses.values().sum();
            let all: u64 = expected.iter().map(|(_, count)| *count.end()).sum();
            if told + lost < all {
                wrong.push(format!("{told} told and {lost} lost, but there were {all}"));
            }
        }
    }
    wrong.extend(audit(report));
    wrong
}

/// What the audit leaves open, and where it has read the counters otherwise.
fn audit(report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    let counted: BTreeMap<u64, &BTreeMap<String, u64>> = report
        .namespaces
        .iter()
        .filter_map(|(actor, netns)| Some((*netns, report.counters.get(actor)?)))
        .chain(report.storm.iter().map(|(netns, counted)| (*netns, counted)))
        .collect();
    let whole = |line: &&Value| line["t_ns"].is_null();
    let lines: BTreeMap<u64, &Value> = report
        .said
        .audit
        .iter()
        .filter(whole)
        .filter_map(|line| Some((line["netns"].as_u64()?, line)))
        .collect();
    for (netns, counted) in counted {
        let rose = |name: &str| counted.get(name).copied().unwrap_or(0);
        let Some(line) = lines.get(&netns) else {
            if rose("ListenDrops") > 0 {
                wrong.push(format!(
                    "no audit of a namespace with {} ListenDrops",
                    rose("ListenDrops")
                ));
            }
            continue;
        };
        for (name, parts) in line["counters"].as_object().into_iter().flatten() {
            let unaccounted = parts["unaccounted"].as_i64().unwrap_or(0);
            if unaccounted != 0 {
                wrong.push(format!("audit: {unaccounted} {name} unaccounted for: {parts}"));
            }
            if parts["rose"].as_u64() != Some(rose(name)) {
                wrong.push(format!("audit: {name} rose by {}, not as in {parts}", rose(name)));
            }
        }
    }
    wrong
}

/// Whether the case itself is sound: what it expects to be told must be what the kernel counted.
fn own_sums(case: &Case, report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut actors: BTreeMap<u64, &str> = BTreeMap::new();
    for (actor, netns) in &report.namespaces {
        actors.entry(*netns).or_insert(actor);
    }
    for (netns, actor) in actors {
        for counter in [Counter::ListenOverflows, Counter::ListenDrops, Counter::ReqQFullDrop] {
            let rise = |name: &str| {
                report.counters.get(actor).and_then(|all| all.get(name)).copied().unwrap_or(0)
            };
            let rose = rise(counter.as_str());
            let of = |told: &&Told| named(told.of, report).any(|l| l.netns == netns);
            let counts = |told: &&Told| {
                let id = VerdictId::parse(told.id);
                id.is_some_and(|id| {
                    id.counts(counter)
                        || id == VerdictId::SynDropOther && counter == Counter::ListenDrops
                })
            };
            let count = |told: &Told| match told.count {
                Count::Exactly(count) | Count::UpTo(count) => count,
                Count::AsRose(_, counter) => rise(counter),
            };
            let told: u64 = case.told.iter().filter(of).filter(counts).map(count).sum();
            let unseen = case.unseen.iter().filter(|_| counter == Counter::ListenDrops);
            let unseen = unseen.filter(|(who, _)| report.namespaces.get(*who) == Some(&netns));
            let known = told + unseen.map(|(_, count)| count).sum::<u64>();
            if known != rose {
                let counter = counter.as_str();
                wrong
                    .push(format!("the case knows of {known} {counter} of {actor}, not of {rose}"));
            }
        }
    }
    wrong
}

/// Whether what was told of each namespace of a storm is what it counted.
fn storm(report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    let losses = &report.said.losses;
    let lost = losses.iter().map(|(what, count)| format!("said that {count} {what} were lost"));
    wrong.extend(lost);
    for counter in [Counter::ListenOverflows, Counter::ListenDrops, Counter::ReqQFullDrop] {
        let (mut first, mut namespaces, mut all) = (None, 0, (0, 0));
        for (netns, counted) in &report.storm {
            let rose = counted.get(counter.as_str()).copied().unwrap_or(0);
            let of = report.said.totals.iter().filter(|t| t.charged.netns == Some(*netns));
            let counts = |told: &&said::Told| {
                VerdictId::parse(&told.id).is_some_and(|id| {
                    id.counts(counter)
                        || id == VerdictId::SynDropOther && counter == Counter::ListenDrops
                })
            };
            let told: u64 = of.filter(counts).map(|told| told.count).sum();
            all = (all.0 + told, all.1 + rose);
            if told != rose {
                first.get_or_insert((told, rose));
                namespaces += 1;
            }
        }
        let name = counter.as_str();
        if let Some((told, rose)) = first {
            wrong.push(format!(
                "{name} of {namespaces} namespaces of {} differ, as {told} told of {rose}; {} of {} \
                 in all",
                report.storm.len(), all.0, all.1
            ));
        } else if all.1 == 0 {
            wrong.push(format!("the case is void: {name} did not rise"));
        }
    }
    wrong
}

fn compare(
    place: &str,
    case: &Case,
    expected: &[(&Told, RangeInclusive<u64>)],
    said: &[said::Told],
    report: &Report,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut found = vec![0_u64; expected.len()];
    let mut accused: BTreeMap<String, u64> = BTreeMap::new();
    for line in said.iter().filter(|line| ours(line.charged.netns, line.charged.port, report)) {
        let fits = |told: &Told| {
            let client = told.clients.zip(line.client);
            told.id == line.id
                && client.is_none_or(|((first, last), port)| (first..=last).contains(&port))
                && named(told.of, report).any(|of| is(&line.charged, of))
        };
        match expected.iter().position(|(told, _)| fits(told)) {
            Some(at) => found[at] += line.count,
            None if TOLERATED.contains(&&*line.id) || case.tolerated.contains(&&*line.id) => {}
            None => {
                let whom = describe(&line.charged, report);
                *accused.entry(format!("{} of {whom}", line.id)).or_default() += line.count;
            }
        }
    }
    // Totals have no clients: what is expected of several clients is one sum.
    let mut sums: BTreeMap<(&str, &str), (u64, u64, u64)> = BTreeMap::new();
    for ((told, expected), found) in expected.iter().zip(found) {
        if place.is_empty() {
            if !expected.contains(&found) {
                let clients = told.clients.map(|(first, last)| format!(" from {first}…{last}"));
                let what = format!("{} of {}{}", told.id, told.of, clients.unwrap_or_default());
                wrong.push(format!("{found} × {what}, true are {}", range(expected)));
            }
        } else {
            let (sum, least, most) = sums.entry((told.id, told.of)).or_default();
            *sum += found;
            *least += expected.start();
            *most += expected.end();
        }
    }
    for ((id, of), (found, least, most)) in sums {
        if !(least..=most).contains(&found) {
            let expected = range(&(least..=most));
            wrong.push(format!("{place}{found} × {id} of {of}, true are {expected}"));
        }
    }
    wrong.extend(accused.into_iter().map(|(what, n)| format!("{place}{n} × {what}, not so")));
    wrong
}

fn range(range: &RangeInclusive<u64>) -> String {
    let (least, most) = (range.start(), range.end());
    if least == most { least.to_string() } else { format!("{least} to {most}") }
}

/// Whether a line is about the case, and not about what else this machine does.
fn ours(netns: Option<u64>, port: Option<u16>, report: &Report) -> bool {
    match netns {
        Some(netns) => report.namespaces.values().any(|ours| *ours == netns),
        None => port.is_some_and(|port| {
            let suffix = format!(":{port}");
            report.listeners.values().any(|listener| listener.address.ends_with(&suffix))
        }),
    }
}

/// Whether a line names this listener and no other.
fn is(charged: &Charged, listener: &Listener) -> bool {
    // `ss` writes a dual-stack wildcard so.
    let address = |text: &str| text.replace("[::]:", "*:");
    charged.netns == Some(listener.netns)
        && charged.address.as_deref().map(address) == Some(address(&listener.address))
        && (charged.inodes.is_empty() || charged.inodes == [listener.inode])
        && charged.comm.as_ref() == Some(&listener.actor)
        && charged.pids.contains(&listener.pid)
}

/// The listeners that a name stands for.
fn named<'a>(name: &'a str, report: &'a Report) -> impl Iterator<Item = &'a Listener> {
    let matches = move |known: &str| match name.strip_suffix('*') {
        Some(first) => known.starts_with(first),
        None => known == name,
    };
    report.listeners.iter().filter(move |(known, _)| matches(known)).map(|(_, listener)| listener)
}

/// Whom a line names, by the names of the script where it is clear.
fn describe(charged: &Charged, report: &Report) -> String {
    if let Some((name, _)) = report.listeners.iter().find(|(_, listener)| is(charged, listener)) {
        return name.clone();
    }
    let part = |name: &str, value: Option<String>| match value {
        Some(value) => format!("{name} {value}"),
        None => format!("no {name}"),
    };
    let netns = charged.netns.map(|netns| {
        let actor = report.namespaces.iter().find(|(_, known)| **known == netns);
        actor.map_or_else(|| netns.to_string(), |(actor, _)| format!("of {actor}"))
    });
    [
        part("netns", netns),
        part("listener", charged.address.clone()),
        part("owner", charged.comm.clone()),
    ]
    .join(", ")
}
