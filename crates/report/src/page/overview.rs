//! The first screen: what happened to whom, where, and why.

use std::collections::BTreeMap;

use maud::{Markup, html};
use overflow_core::{explain::Lang, text::duration::count, verdict::VerdictId};

use super::{facts, marks};
use crate::{
    collect::{Collector, Kind},
    fate::Fates,
    html::Shown,
    scene::Scene,
};

/// Kernel decisions that the first screen names.
const DECISIONS: usize = 3;
/// Places that stand there at once; the others are behind a click.
const PLACES: usize = 12;

/// The page in one sentence.
pub(super) fn headline(run: &Collector) -> String {
    let fates = all(run);
    let (total, hurt) = (fates.total(), hurt(run, &fates));
    let clients = |n: u64| count(usize::try_from(n).unwrap_or(usize::MAX), "client");
    let were = |n: u64| match (run.about.kind, n) {
        (Kind::Prediction, _) => "would be",
        (_, 1) => "was",
        _ => "were",
    };
    let partings: Vec<_> = run.scenes.iter().filter_map(|scene| scene.parting.as_ref()).collect();
    if let Some(first) = partings.first() {
        let apart = partings.iter().filter(|parting| parting.connection.is_some()).count();
        // A name may stand for several kernels, and each pair has its cells.
        let one_pair = partings.iter().all(|parting| parting.kernels == first.kernels);
        let both = if one_pair { first.kernels.join(" and ") } else { "The kernels".to_owned() };
        return format!("{both} part in {apart} of {} cells", partings.len());
    }
    match (total, hurt) {
        (0, 0) => "Nothing happened to any client that was watched".to_owned(),
        (_, 0) if run.about.all => format!("No client of {total} {} hurt", were(1)),
        (_, 0) => "No client was hurt".to_owned(),
        _ if run.about.all && total >= hurt => {
            format!("{hurt} of {} {} hurt", clients(total), were(hurt))
        }
        _ => format!("{} {} hurt", clients(hurt), were(hurt)),
    }
}

/// Every client.
fn all(run: &Collector) -> Fates {
    let mut all = Fates::default();
    run.scenes.iter().for_each(|scene| all.add_all(&scene.fates));
    all.add_all(&run.elsewhere);
    all
}

/// As the summary has it where there is one: of a trace it knows more than its connections do.
fn hurt(run: &Collector, fates: &Fates) -> u64 {
    let counted = run.summary.as_ref().and_then(|summary| summary.clients.as_ref());
    counted.map_or(fates.hurt(), |(hurt, _)| *hurt)
}

/// The headline, and three answers below it.
pub(super) fn header(run: &Collector, headline: &str) -> Markup {
    let fates = all(run);
    html! {
        header {
            p.kicker { (kicker(run.about.kind)) }
            h1 { (Shown(headline)) }
            @if run.whatifs.is_empty() && run.scenes.iter().all(|scene| scene.parting.is_none()) {
                dl.answers {
                    div { dt { "Who" } dd { (who(run, &fates)) } }
                    div { dt { "What the kernel did" } dd { (decisions(run)) } }
                    div { dt { "Why" } dd { (why(run)) } }
                    div { dt { "How sure" } dd { (surety(run)) } }
                }
            }
            (facts(&run.about.facts))
        }
    }
}

const fn kicker(kind: Kind) -> &'static str {
    match kind {
        Kind::Trace => "overflow trace: full listener queues on this host",
        Kind::Lab => "overflow lab: queues overflowed on purpose",
        Kind::Capture => "overflow pcap: handshakes by their packets alone",
        Kind::Prediction => "overflow predict: what a kernel would do",
        Kind::Whatif => "overflow whatif: what another setting would have meant",
    }
}

fn who(run: &Collector, fates: &Fates) -> Markup {
    // The summary knows of clients whose connections were not told, as with aggregates alone. Where
    // all were told, they are called here what they are called below.
    let counted = run.summary.as_ref().and_then(|summary| summary.clients.as_ref());
    let each: Vec<_> = match counted {
        Some((total, hurt)) if *total != fates.hurt() => {
            let others = fates.each().filter(|(fate, _)| !fate.is_hurt());
            hurt.iter().copied().chain(others).collect()
        }
        _ => fates.each().collect(),
    };
    html! {
        @if each.is_empty() { "no client was seen" }
        ul.legend {
            @for (fate, n) in each {
                li {
                    (marks::mark(fate)) " " b { (n) " " (fate.word()) }
                    " " span.meaning { (fate.meaning()) }
                }
            }
        }
        @if !run.about.all && run.about.kind != Kind::Capture {
            p.note { "Healthy handshakes were not watched: " code { "--all" } " does." }
        }
    }
}

fn decisions(run: &Collector) -> Markup {
    let mut sums: BTreeMap<VerdictId, (u64, &str)> = BTreeMap::new();
    for (id, n, comparison) in run.scenes.iter().flat_map(Scene::refusals) {
        let sum = sums.entry(id).or_default();
        sum.0 += n;
        if sum.1.is_empty() {
            sum.1 = comparison;
        }
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, (n, _))| std::cmp::Reverse(*n));
    html! {
        @if run.about.kind == Kind::Capture {
            (looks(run))
        } @else if sums.is_empty() {
            "it refused nothing"
        } @else {
            ul.plain {
                @for (id, (n, comparison)) in sums.iter().take(DECISIONS) {
                    li { b { (n) " × " (id.label(Lang::En)) } (decided(comparison)) }
                }
                @if sums.len() > DECISIONS { li { "and " (sums.len() - DECISIONS) " other decisions" } }
            }
        }
    }
}

/// What the packets of most connections show.
fn looks(run: &Collector) -> Markup {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for story in run.scenes.iter().flat_map(Scene::stories) {
        *sums.entry(story.gist()).or_default() += story.count;
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    html! {
        p { "Packets do not show decisions, only what each allows:" }
        ul.plain {
            @for (gist, n) in sums.iter().take(DECISIONS) { li { b { (n) " × " (Shown(gist)) } } }
            @if sums.len() > DECISIONS { li { "and " (sums.len() - DECISIONS) " other patterns" } }
        }
    }
}

fn decided(comparison: &str) -> Markup {
    html! { @if !comparison.is_empty() { ": " code { (Shown(comparison)) } } }
}

/// Causes with the number of listeners that they were found at.
fn why(run: &Collector) -> Markup {
    let mut causes: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for scene in &run.scenes {
        if let Some(found) = scene.causes.iter().find_map(|cause| cause.found.first()) {
            let evidence = found.evidence.first().map_or("", String::as_str);
            causes.entry(found.label).or_insert((0, evidence)).0 += 1;
        }
    }
    let looked = run.scenes.iter().any(|scene| !scene.causes.is_empty());
    html! {
        @if causes.is_empty() {
            @match run.about.kind {
                _ if looked => "no cause was found; what was ruled out is below",
                Kind::Lab => "by the experiment: its server calls accept() only where a scenario says so",
                Kind::Prediction => "by the question: nobody calls accept()",
                Kind::Capture => "a capture does not show who should have accepted",
                Kind::Trace | Kind::Whatif => {
                    "nobody looked at who holds the listeners: "
                    code { "overflow trace --why" }
                    " does"
                }
            }
        } @else {
            ul.plain {
                @for (label, (listeners, evidence)) in &causes {
                    li {
                        b { (label) }
                        @if *listeners > 1 { ", at " (listeners) " listeners" }
                        @if !evidence.is_empty() { ": " (Shown(evidence)) }
                    }
                }
            }
        }
    }
}

fn surety(run: &Collector) -> Markup {
    let lost: u64 = run.losses.values().map(|(n, _)| n).sum();
    let summary = run.summary.as_ref();
    let disagreements = summary.and_then(|summary| summary.disagreements);
    let unaccounted = summary.and_then(|summary| summary.unaccounted);
    html! {
        @match lost {
            0 if run.about.kind == Kind::Prediction => "a model of the kernel's code; nothing was run",
            0 => "nothing was lost",
            n => a href="#lost" { (n) " lost, see what that means" },
        }
        @match disagreements {
            Some(0) if run.about.hooks.is_empty() => "; packets, counters and sockets agree",
            Some(0) => "; packets, counters and sockets agree with the tracer",
            Some(n) => { "; " b { "witnesses disagree on " (n) " connections" } },
            None => "",
        }
        @match unaccounted {
            Some(0) => "; every rise of the kernel's counters is accounted for",
            Some(n) => { "; " b { (n) " of the kernel's counters unaccounted" } },
            None if run.about.kind == Kind::Trace => "; the kernel's counters were not compared",
            None => "",
        }
    }
}

/// Every place with its clients, those where most were hurt first; cells stay in their order.
pub(super) fn places(run: &Collector) -> Markup {
    let places = run.scenes.iter().enumerate().filter(|(_, scene)| !scene.is_empty());
    let mut places: Vec<_> = places.collect();
    if matches!(run.about.kind, Kind::Trace | Kind::Capture) {
        places.sort_by_key(|(_, scene)| std::cmp::Reverse(scene.fates.hurt()));
    }
    let (first, more) = places.split_at(places.len().min(PLACES));
    html! {
        section aria-labelledby="places" {
            h2 id="places" { "Where it happened" }
            (rows(first))
            @if !more.is_empty() {
                details { summary { (more.len()) " more" } (rows(more)) }
            }
            @if run.elsewhere.total() > 0 {
                p.note {
                    "At listeners for which this page has no room: " (run.elsewhere.words()) "."
                }
            }
        }
    }
}

fn rows(places: &[(usize, &Scene)]) -> Markup {
    html! {
        ol.places {
            @for (n, scene) in places {
                li {
                    div.name {
                        a href=(format!("#p{n}")) { (Shown(&scene.title)) }
                        @if let Some(owner) = &scene.owner { span.owner { (Shown(owner)) } }
                    }
                    div.clients { (marks::strip(&scene.fates)) p { (scene.fates.words()) } }
                    div.why { (reason(scene)) }
                }
            }
        }
    }
}

/// In one line what a place is about.
fn reason(scene: &Scene) -> Markup {
    let cause = scene.causes.iter().find_map(|cause| cause.found.first());
    let refusals = scene.refusals();
    html! {
        @if let Some((id, n, comparison)) = refusals.first() {
            p { (n) " × " (id.label(Lang::En)) (decided(comparison)) }
        } @else if let Some(story) = scene.stories().first() {
            p { (Shown(story.gist())) }
        }
        @if let Some(cause) = cause { p { b { (cause.label) } } }
        @if let Some(parting) = &scene.parting {
            @match &parting.connection {
                Some(connection) => {
                    p { "they part at " (Shown(connection)) ":" }
                    @for (kernel, step) in parting.kernels.iter().zip(&parting.steps) {
                        p {
                            (Shown(kernel)) ": "
                            @match step {
                                Some(step) => b { (Shown(&step.title)) },
                                None => "nothing more happens",
                            }
                        }
                    }
                }
                None => p { "they decide alike" },
            }
        }
    }
}
