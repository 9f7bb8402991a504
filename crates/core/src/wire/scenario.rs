//! `scenario`: what a scenario of the lab shows, and how it ended.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// A `scenario` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario<'a> {
    /// Format version.
    pub v: u32,
    /// Its name.
    pub scenario: Cow<'a, str>,
    /// What it shows.
    pub shows: Cow<'a, str>,
    /// How it ended; absent in the list.
    #[serde(flatten)]
    pub ended: Option<Ended<'a>>,
}

/// How a scenario ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended<'a> {
    /// The run's name, as in its other lines.
    pub run: Cow<'a, str>,
    /// Whether all came out as expected and no witness disagrees; `null` if it could not run.
    pub holds: Option<bool>,
    /// Each connection's stages, in order.
    pub stories: Vec<String>,
    /// What differs from what was expected, one sentence each.
    pub differences: Cow<'a, [String]>,
    /// Why it could not run.
    pub unavailable: Option<Cow<'a, str>>,
}
