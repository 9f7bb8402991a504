//! How all this was seen: hooks, losses, the audit, and what stays open.

use maud::{Markup, html};

use crate::{
    collect::{About, Audit, Collector, Kind, Scenario},
    html::Shown,
};

/// The last section.
pub(super) fn section(run: &Collector) -> Markup {
    html! {
        section aria-labelledby="evidence" {
            h2 id="evidence" { "How this was seen" }
            @for note in &run.about.notes { p.note { (Shown(note)) } }
            @if run.about.kind == Kind::Prediction {
                p.note {
                    "By a model of the kernel's code, which is checked against measured kernels. "
                    "Nothing was run or traced."
                }
            }
            @if run.about.kind == Kind::Whatif {
                p.note {
                    "The clients of a recording were played through a model of the kernel's code. "
                    "docs/whatif.md says how near such answers come to what then happens."
                }
            }
            (scenarios(&run.scenarios))
            (hooks(&run.about))
            (losses(run))
            @for audit in &run.audits { (namespace(audit)) }
            @if run.more_audits > 0 {
                p.note { "and " (run.more_audits) " more network namespaces" }
            }
            @if run.audits.is_empty() && run.about.kind == Kind::Trace {
                p.note {
                    @match run.summary.as_ref().and_then(|summary| summary.unaccounted) {
                        Some(_) => "No audited counter of the kernel rose.",
                        None => "The kernel's counters were not compared with what was told.",
                    }
                }
            }
            (doubts(run))
            @if let Some(summary) = &run.summary {
                p.note { (summary.connections) " connections were reported in all." }
            }
        }
    }
}

fn hooks(about: &About) -> Markup {
    let named = about.hooks.values().any(|functions| !functions.is_empty());
    html! {
        @if !about.hooks.is_empty() {
            h3 { "Hooks" }
            div.wide { table {
                caption { "What of the kernel was observed, and by which means" }
                thead { tr {
                    th scope="col" { "hook point" }
                    th scope="col" { "rung" }
                    @if named { th scope="col" { "hooks" } }
                } }
                tbody {
                    @for ((moment, rung), functions) in &about.hooks {
                        tr {
                            th scope="row" { (Shown(moment)) }
                            td { code { (Shown(rung)) } }
                            @if named {
                                td { @for function in functions { code { (Shown(function)) } " " } }
                            }
                        }
                    }
                }
            } }
        } @else if matches!(about.kind, Kind::Trace | Kind::Lab) {
            p.note { "No hook observed this." }
        }
    }
}

fn losses(run: &Collector) -> Markup {
    html! {
        @if run.losses.is_empty() {
            @if run.about.kind != Kind::Prediction { p.note id="lost" { "Nothing was lost." } }
        } @else {
            h3 id="lost" { "What was lost" }
            div.wide { table {
                caption { "Each loss, and what it means for this page" }
                thead { tr {
                    th scope="col" { "lost" } th scope="col" { "how many" } th scope="col" { "meaning" }
                } }
                tbody {
                    @for (what, (n, meaning)) in &run.losses {
                        tr { th scope="row" { (Shown(what)) } td { (n) } td { (Shown(meaning)) } }
                    }
                }
            } }
        }
    }
}

fn namespace(audit: &Audit) -> Markup {
    let whys = audit.rows.iter().flat_map(|row| row.why.iter().map(|why| (&row.counter, why)));
    html! {
        h3 { "Audit of network namespace " (audit.netns) }
        @if audit.unread {
            p.note { "Its counters could not be read at the end: they stand as hooks have read them." }
        }
        div.wide { table {
            caption { "What the kernel's counters rose by, and what accounts for it; the parts add up" }
            thead { tr {
                th scope="col" { "counter" }
                th scope="col" { "rose by" }
                th scope="col" { "told" }
                th scope="col" { "left out" }
                th scope="col" { "lost" }
                th scope="col" { "not watched" }
                th scope="col" { "unaccounted" }
            } }
            tbody {
                @for row in &audit.rows {
                    tr {
                        th scope="row" { code { (Shown(&row.counter)) } }
                        td { (row.rose) }
                        td { (row.told) }
                        td { (row.left_out) }
                        td { (row.lost) }
                        td { (row.unwatched) }
                        td { @if row.unaccounted == 0 { "0" } @else { b.bad { (row.unaccounted) } } }
                    }
                }
            }
        } }
        ul.plain {
            @for (counter, why) in whys { li { code { (Shown(counter)) } ": " (Shown(why)) } }
        }
    }
}

fn scenarios(scenarios: &[Scenario]) -> Markup {
    let word = |holds: Option<bool>| match holds {
        Some(true) => "as expected",
        Some(false) => "DIFFERENT",
        None => "could not run here",
    };
    html! {
        @if !scenarios.is_empty() {
            h3 { "Scenarios" }
            div.wide { table {
                caption { "How each ended, and what it shows" }
                thead { tr {
                    th scope="col" { "scenario" } th scope="col" { "ended" } th scope="col" { "shows" }
                } }
                tbody {
                    @for scenario in scenarios {
                        tr {
                            th scope="row" { (Shown(&scenario.name)) }
                            td { (word(scenario.holds)) }
                            td {
                                (Shown(&scenario.shows))
                                @for remark in &scenario.remarks { br; (Shown(remark)) }
                            }
                        }
                    }
                }
            } }
        }
    }
}

fn doubts(run: &Collector) -> Markup {
    html! {
        @if !run.doubts.is_empty() {
            h3 { "What the packets do not tell" }
            div.wide { table {
                caption { "Each open question, and what would answer it" }
                thead { tr {
                    th scope="col" { "not known" }
                    th scope="col" { "connections" }
                    th scope="col" { "what would tell" }
                } }
                tbody {
                    @for (what, n, ask) in &run.doubts {
                        tr { th scope="row" { (Shown(what)) } td { (n) } td { (Shown(ask)) } }
                    }
                }
            } }
        }
    }
}
