//! `topic`: a page of `overflow explain`, or its title in a list.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// A `topic` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic<'a> {
    /// Format version.
    pub v: u32,
    /// What it is asked for by.
    pub name: Cow<'a, str>,
    /// `en` or `zh`.
    pub lang: Cow<'a, str>,
    /// Its heading.
    pub title: Cow<'a, str>,
    /// What it says, in markdown; empty in a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paragraphs: Vec<Paragraph<'a>>,
}

/// A paragraph of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paragraph<'a> {
    /// What it is about.
    pub label: Cow<'a, str>,
    /// Its sentences, in markdown.
    pub text: Cow<'a, str>,
}
