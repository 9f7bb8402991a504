//! Why a queue was full, with the evidence.

use maud::{Markup, html};
use overflow_core::text::duration;

use super::facts;
use crate::{
    html::Shown,
    scene::{Cause, Fact, Found, Scene},
};

/// What each look at its holders found.
pub(super) fn section(scene: &Scene) -> Markup {
    let first = scene.causes.first().map_or(0, |cause| cause.t_ns);
    html! {
        @if !scene.causes.is_empty() {
            h3 { "Why its queue was full" }
            @for cause in &scene.causes { (look(cause, first)) }
            @if scene.more_causes > 0 {
                p.note { "and " (scene.more_causes) " later looks that found something else" }
            }
        }
    }
}

fn look(cause: &Cause, first_ns: u64) -> Markup {
    html! {
        article.look {
            p.note {
                @if cause.t_ns > first_ns { (duration::since(cause.t_ns, first_ns)) ": " }
                code { (Shown(&cause.queue)) }
                @if let Some(owner) = &cause.owner { ", held by " (Shown(owner)) }
            }
            @for found in &cause.found { (holds(found)) }
            @if cause.found.is_empty() { p { "No cause was found." } }
            (others("Ruled out", &cause.ruled_out))
            (others("Cannot be told", &cause.unknown))
            @for unread in &cause.unread { p.note { "Not read: " (Shown(unread)) } }
        }
    }
}

fn holds(found: &Found) -> Markup {
    html! {
        h4 { (found.label) " " code.id { (found.id) } }
        ul.plain { @for evidence in &found.evidence { li { (Shown(evidence)) } } }
        (facts(&found.values))
        p { b { "What to do: " } (Shown(&found.advice)) }
    }
}

fn others(title: &str, causes: &[Fact]) -> Markup {
    html! {
        @if !causes.is_empty() {
            details {
                summary { (title) ": " (causes.len()) " causes" }
                dl.reasons {
                    @for (label, why) in causes { dt { (Shown(label)) } dd { (Shown(why)) } }
                }
            }
        }
    }
}
