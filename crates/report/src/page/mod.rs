//! The page: what happened to whom and why comes first, the evidence for it behind.

mod causes;
mod evidence;
mod marks;
mod overview;
mod place;
mod sequence;
mod whatif;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::collect::Collector;

/// This crate's own, and the only text that is put into a page as it is.
const STYLE: &str = include_str!("style.css");
/// Sequence diagrams of one page: each is some kilobytes.
const DIAGRAMS: usize = 80;
/// Steps of all charts of one page together, and of one.
const STEPS: (usize, usize) = (1600, 160);

/// The whole page.
pub(crate) fn page(run: &Collector) -> String {
    let headline = match &run.whatifs[..] {
        [] => overview::headline(run),
        asked => whatif::headline(asked),
    };
    let room = diagrams(run);
    let steps = (STEPS.0 / run.scenes.len().max(1)).clamp(16, STEPS.1);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                // Nothing is loaded and nothing runs, whatever got into the page.
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (headline) " – overflow" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (marks::definitions())
                a.skip href="#main" { "Skip to what happened" }
                (overview::header(run, &headline))
                main id="main" {
                    (whatif::sections(&run.whatifs))
                    @if run.whatifs.is_empty() { (overview::places(run)) }
                    @for (n, scene) in run.scenes.iter().enumerate() {
                        @if !scene.is_empty() {
                            (place::section(run.about.kind, scene, n, room[n], steps))
                        }
                    }
                    (evidence::section(run))
                }
                footer { p { "Made by " (crate::html::Shown(&run.about.tool)) "." } }
            }
        }
    };
    page.into_string()
}

/// How many diagrams each place may have: every place its worst story first, then the next.
fn diagrams(run: &Collector) -> Vec<usize> {
    let stories: Vec<_> = run.scenes.iter().map(|scene| scene.stories().len()).collect();
    let mut room = vec![0; stories.len()];
    let mut left = DIAGRAMS;
    for rank in 0..stories.iter().copied().max().unwrap_or_default() {
        for (n, stories) in stories.iter().enumerate() {
            if *stories > rank && left > 0 {
                room[n] += 1;
                left -= 1;
            }
        }
    }
    room
}

/// Names and values side by side.
fn facts<N: AsRef<str>>(facts: &[(N, String)]) -> Markup {
    html! {
        @if !facts.is_empty() {
            dl.facts {
                @for (name, value) in facts {
                    div {
                        dt { (crate::html::Shown(name.as_ref())) }
                        dd { (crate::html::Shown(value)) }
                    }
                }
            }
        }
    }
}
