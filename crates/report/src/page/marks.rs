//! Marks: drawn once, used by name. Each has a shape of its own, so that no colour is needed.

use maud::{Markup, html};

use crate::fate::{Fate, Fates};

/// Clients that are named one by one to who does not see their marks.
const NAMED: usize = 12;

/// Every mark.
pub(super) fn definitions() -> Markup {
    html! {
        svg.defs width="0" height="0" aria-hidden="true" focusable="false" {
            symbol id="f-connected" viewBox="0 0 16 16" { circle cx="8" cy="8" r="6" {} }
            symbol id="f-phantom" viewBox="0 0 16 16" {
                circle.line.dashed cx="8" cy="8" r="5.6" {}
            }
            symbol id="f-reset" viewBox="0 0 16 16" { path.line.thick d="M3.5 3.5 12.5 12.5M12.5 3.5 3.5 12.5" {} }
            symbol id="f-never" viewBox="0 0 16 16" { path d="M2 2h12v12H2z" {} path.hole d="M4.5 8h7" {} }
            symbol id="f-gaveup" viewBox="0 0 16 16" {
                circle.line cx="8" cy="8" r="5.6" {} path.line d="M4 12 12 4" {}
            }
            symbol id="f-waiting" viewBox="0 0 16 16" {
                circle cx="3" cy="8" r="1.8" {} circle cx="8" cy="8" r="1.8" {} circle cx="13" cy="8" r="1.8" {}
            }
            symbol id="f-delayed" viewBox="0 0 16 16" {
                circle.line cx="8" cy="8" r="5.6" {} path d="M8 2.4a5.6 5.6 0 0 1 0 11.2z" {}
            }
            symbol id="f-other" viewBox="0 0 16 16" { path.line d="M8 2.5 13.5 12.5h-11z" {} }
            symbol id="f-unknown" viewBox="0 0 16 16" {
                path.line d="M5.2 6a2.8 2.8 0 1 1 4 2.6c-.9.5-1.2.9-1.2 1.9" {} circle cx="8" cy="13" r="1.1" {}
            }
            symbol id="m-drop" viewBox="0 0 12 12" { path.line d="M2 2 10 10M10 2 2 10" {} }
            symbol id="m-cookie" viewBox="0 0 12 12" { path.line d="M6 1 11 6 6 11 1 6z" {} }
        }
    }
}

/// One client's.
pub(super) fn mark(fate: Fate) -> Markup {
    let href = format!("#{}", fate.class());
    html! { svg class=(format!("mark {}", fate.class())) aria-hidden="true" { use href=(href) {} } }
}

/// All clients of a place in order of arrival.
pub(super) fn strip(fates: &Fates) -> Markup {
    let shown = fates.first.len() as u64;
    let more = fates.total() - shown;
    let label = if fates.total() <= NAMED as u64 {
        let each: Vec<_> = fates.first.iter().map(|fate| fate.word()).collect();
        format!("Clients in order: {}", each.join(", "))
    } else {
        format!("{} clients: {}", fates.total(), fates.words())
    };
    html! {
        @if shown > 0 {
            div.strip role="img" aria-label=(label) {
                @for fate in &fates.first { (mark(*fate)) }
                @if more > 0 { span.more { "+" (more) } }
            }
        }
    }
}
