//! What a case must show against what was said. Pure.

mod storm;

use std::{collections::BTreeMap, ops::RangeInclusive};

use guest_cases::{
    job::{Listener, Report},
    said::{self, Charged},
};
use overflow_core::verdict::{Counter, VerdictId};
use serde_json::Value;

use storm::storm;

use super::case::{Case, Count, Losses, Mode, TOLERATED, Told};
use crate::rung::Rung;

/// What the tool reads at each drop.
const READ_BY_HOOKS: &[Counter] =
    &[Counter::ListenOverflows, Counter::ListenDrops, Counter::ReqQFullDrop];
/// What tracepoints call an ACK of which they do not see more.
const VAGUE: &[&str] = &["ack.drop.other", "ack.reset.other"];

/// Everything that is wrong, one sentence each.
///
/// `reasons`: whether this kernel gives each exit of `tcp_check_req` a drop reason of its own; without,
/// tracepoints show no more than that an ACK was dropped, or answered by RST.
pub fn judge(case: &Case, mode: Mode, rung: Rung, reasons: bool, report: &Report) -> Vec<String> {
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
        wrong.extend(storm(report, mode, rung));
        wrong.extend(audit(report));
        return wrong;
    }
    let by_tracepoints = if rung == Rung::Tracepoint { case.by_tracepoints } else { None };
    let mut expected: Vec<Told> = by_tracepoints.unwrap_or(case.told).to_vec();
    if by_tracepoints.is_none() && !case.filtered {
        wrong.extend(own_sums(case, report));
    }
    if mode != Mode::Default {
        let by_tracepoints = if rung == Rung::Tracepoint { case.all_by_tracepoints } else { None };
        expected.extend(by_tracepoints.unwrap_or(case.all));
    }
    let vague: &[&str] = if rung == Rung::Tracepoint && !reasons { VAGUE } else { &[] };
    // What a full queue does, counters tell on every kernel; of the rest no more than that it was
    // dropped is seen there, which is tolerated.
    let nameless = |id: &str| {
        let counted = |id: VerdictId| id.counts(Counter::ListenDrops);
        !vague.is_empty()
            && id.starts_with("ack.drop.")
            && !VerdictId::parse(id).is_some_and(counted)
    };
    let expected: Vec<_> = expected
        .iter()
        .map(|told| match told.count {
            Count::Exactly(count) if nameless(told.id) => (told, 0..=count),
            Count::Exactly(count) => (told, count..=count),
            Count::UpTo(count) => (told, 0..=count),
            Count::IfRose(actor, counter) => {
                let rose = counted(actor, counter);
                (told, rose..=rose)
            }
            Count::AsRose(actor, counter) => {
                let rose = counted(actor, counter);
                if rose == 0 {
                    wrong.push(format!("the case is void: {counter} of {actor} did not rise"));
                }
                (told, rose..=rose)
            }
        })
        .collect();
    let tolerated: Vec<&str> = [TOLERATED, case.tolerated, vague].concat();
    let said = &report.said;
    if !said.ended {
        wrong.push("the tool ended without a summary".to_owned());
    }
    if mode != Mode::Summary {
        wrong.extend(compare("", &tolerated, &expected, &said.events, report));
        let healthy = |told: &&said::Told| {
            mode == Mode::Default
                && ours(told.charged.netns, told.charged.port, report)
                && VerdictId::parse(&told.id).is_some_and(|id| !id.is_abnormal())
        };
        let shown = said.events.iter().filter(healthy);
        wrong.extend(shown.map(|told| format!("{} is shown, which is no overflow", told.id)));
    }
    wrong.extend(compare("in the totals: ", &tolerated, &expected, &said.totals, report));
    for name in case.not_full {
        let of = |charged: &Charged| report.listeners.get(*name).is_some_and(|of| is(charged, of));
        if said.queues.iter().any(|queue| queue.full_now && of(&queue.charged)) {
            wrong.push(format!("{name} is said to be full still, but is empty"));
        }
    }
    if !case.hurt.is_empty() {
        wrong.extend(hurt(case, report));
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

/// Clients that are said to be hurt, where the case has others.
fn hurt(case: &Case, report: &Report) -> Vec<String> {
    let mut expected: BTreeMap<&str, BTreeMap<String, u64>> = BTreeMap::new();
    for (listener, class, count) in case.hurt {
        expected.entry(listener).or_default().insert((*class).to_owned(), *count);
    }
    let differing = expected.into_iter().filter_map(|(listener, expected)| {
        let of = report.listeners.get(listener)?;
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for queue in report.said.queues.iter().filter(|queue| is(&queue.charged, of)) {
            for (class, count) in &queue.hurt {
                *found.entry(class.clone()).or_default() += count;
            }
        }
        (found != expected).then(|| {
            format!("clients of {listener} that were hurt: {found:?}, the case has {expected:?}")
        })
    });
    differing.collect()
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
            // Nobody could read its counters: those that hooks do not read stand as was told.
            let read = READ_BY_HOOKS.iter().any(|counter| counter.as_str() == name);
            if line["unread"] == true && !read && parts["rose"].as_u64() <= Some(rose(name)) {
                continue;
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
                Count::AsRose(_, counter) | Count::IfRose(_, counter) => rise(counter),
            };
            let told: u64 = case.told.iter().filter(of).filter(counts).map(count).sum();
            let unseen = case.unseen.iter().filter(|(who, of, _)| {
                *of == counter && report.namespaces.get(*who) == Some(&netns)
            });
            let known = told + unseen.map(|(_, _, count)| count).sum::<u64>();
            if known != rose {
                let counter = counter.as_str();
                wrong
                    .push(format!("the case knows of {known} {counter} of {actor}, not of {rose}"));
            }
        }
    }
    wrong
}

fn compare(
    place: &str,
    tolerated: &[&str],
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
            None if tolerated.contains(&&*line.id) => {}
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
    let there = charged.netns == Some(listener.netns)
        && charged.address.as_deref().map(address) == Some(address(&listener.address));
    if listener.inode == 0 {
        return there && charged.comm.is_none() && charged.pids.is_empty();
    }
    there
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::case::{CASE, told, up_to},
        *,
    };

    const CASE_OF_A: Case = Case {
        told: &[
            told("syn.drop.accept_queue_full", 2, "a").clients(7, 8),
            up_to("syn.drop.other", 1, "a"),
        ],
        counters: &[("s", "ListenDrops", 3)],
        not_full: &["a"],
        ..CASE
    };

    fn listener() -> Listener {
        Listener {
            actor: "s".to_owned(),
            pid: 10,
            netns: 1,
            inode: 33,
            address: "[::]:80".to_owned(),
        }
    }

    fn charged() -> Charged {
        Charged {
            netns: Some(1),
            address: Some("*:80".to_owned()),
            port: Some(80),
            inodes: vec![33],
            comm: Some("s".to_owned()),
            pids: vec![10, 11],
        }
    }

    fn line(id: &str, client: Option<u16>, count: u64) -> said::Told {
        said::Told { id: id.to_owned(), known: None, charged: charged(), client, count }
    }

    fn report() -> Report {
        let mut report = Report::default();
        report.listeners.insert("a".to_owned(), listener());
        report.namespaces.insert("s".to_owned(), 1);
        let counted = [("ListenDrops".to_owned(), 3), ("ListenOverflows".to_owned(), 2)];
        report.counters.insert("s".to_owned(), counted.into());
        let full = "syn.drop.accept_queue_full";
        report.said.events = vec![line(full, Some(7), 2), line("syn.drop.other", Some(9), 1)];
        report.said.totals = vec![line(full, None, 2), line("syn.drop.other", None, 1)];
        report.said.ended = true;
        let part = |rose| json!({"rose": rose, "told": rose, "unaccounted": 0});
        report.said.audit = vec![json!({
            "netns": 1,
            "counters": {"ListenDrops": part(3), "ListenOverflows": part(2)},
        })];
        report
    }

    fn wrong(change: impl FnOnce(&mut Report)) -> Vec<String> {
        let mut report = report();
        change(&mut report);
        judge(&CASE_OF_A, Mode::Default, Rung::Fentry, true, &report)
    }

    #[test]
    fn what_is_told_of_the_right_socket_passes() {
        assert_eq!(wrong(|_| ()), [""; 0]);
        // Those of others on this machine say nothing.
        let elsewhere = |report: &mut Report| {
            let mut line = line("syn.cookie", None, 1);
            line.charged.netns = Some(2);
            report.said.events.push(line);
        };
        assert_eq!(wrong(elsewhere), [""; 0]);
    }

    #[test]
    fn each_untruth_is_found() {
        let event = |change: fn(&mut said::Told)| {
            wrong(move |report| change(&mut report.said.events[0])).join("; ")
        };
        for (found, part) in [
            (event(|e| e.count = 1), "1 × syn.drop.accept_queue_full of a from (7, 8), true are 2"),
            (event(|e| e.client = Some(9)), "2 × syn.drop.accept_queue_full of a, not so"),
            (event(|e| e.charged.inodes = vec![34]), "owner s, not so"),
            (event(|e| e.charged.comm = Some("t".to_owned())), "owner t, not so"),
            (event(|e| e.charged.pids = vec![12]), "not so"),
            (event(|e| e.charged.netns = None), "no netns, listener *:80"),
            (event(|e| e.id = "ack.reset.other".to_owned()), "2 × ack.reset.other of a, not so"),
        ] {
            assert!(found.contains(&part.replace("(7, 8)", "7…8")), "{found}");
        }
        let found = wrong(|report| report.said.totals[0].count = 3);
        assert_eq!(found, ["in the totals: 3 × syn.drop.accept_queue_full of a, true are 2"]);
        assert_eq!(wrong(|r| r.said.ended = false), ["the tool ended without a summary"]);
        let found = wrong(|report| report.said.losses = [("x".to_owned(), 1)].into());
        assert_eq!(found, ["said that 1 x were lost"]);
        let queue =
            said::Queue { charged: charged(), overflows: 2, full_now: true, hurt: BTreeMap::new() };
        let found = wrong(|report| report.said.queues.push(queue));
        assert_eq!(found, ["a is said to be full still, but is empty"]);
    }

    #[test]
    fn tracepoints_without_reasons_need_not_name_what_dropped_an_ack() {
        const PAWS: Case = Case { all: &[told("ack.drop.paws", 1, "a")], ..CASE_OF_A };
        let wrong = |rung, reasons, id: &str| {
            let mut report = report();
            for lines in [&mut report.said.events, &mut report.said.totals] {
                lines.push(line(id, Some(7), 1));
            }
            judge(&PAWS, Mode::All, rung, reasons, &report)
        };
        assert_eq!(wrong(Rung::Tracepoint, false, "ack.drop.other"), [""; 0]);
        assert_eq!(wrong(Rung::Tracepoint, true, "ack.drop.paws"), [""; 0]);
        assert!(!wrong(Rung::Tracepoint, true, "ack.drop.other").is_empty());
        assert!(!wrong(Rung::Fentry, false, "ack.drop.other").is_empty());
    }

    #[test]
    fn a_case_that_is_wrong_of_the_kernel_fails() {
        let found = wrong(|report| {
            report.counters.insert("s".to_owned(), [("ListenDrops".to_owned(), 4)].into());
        });
        assert!(found[0].starts_with("ListenDrops of s rose by 4, the case has 3"), "{found:?}");
        assert!(found.contains(&"the case knows of 3 ListenDrops of s, not of 4".to_owned()));
        assert_eq!(wrong(|r| r.failed = Some("no".to_owned())), ["in the script: no"]);
    }

    #[test]
    fn the_audit_must_account_for_everything() {
        let found = wrong(|report| {
            report.said.audit[0]["counters"]["ListenDrops"]["unaccounted"] = json!(-1);
        });
        assert!(found[0].starts_with("audit: -1 ListenDrops unaccounted for"), "{found:?}");
        let found = wrong(|report| {
            report.said.audit[0]["counters"]["ListenDrops"]["rose"] = json!(2);
        });
        assert!(found[0].starts_with("audit: ListenDrops rose by 3"), "{found:?}");
        let found = wrong(|report| report.said.audit.clear());
        assert_eq!(found, ["no audit of a namespace with 3 ListenDrops"]);
    }
}
