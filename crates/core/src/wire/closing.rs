//! `loss` and `summary`: what comes last.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Clients, Counts, VERSION};
use crate::loss;

/// A `loss` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss<'a> {
    /// Format version.
    pub v: u32,
    /// The cell's name; absent outside the lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Cow<'a, str>>,
    /// What was lost.
    pub what: Cow<'a, str>,
    /// How many, at least 1.
    pub count: u64,
    /// What that means for the results, in a sentence; earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meaning: Option<Cow<'a, str>>,
}

impl<'a> Loss<'a> {
    /// Outside the lab.
    pub fn of(loss: &'a loss::Loss, count: u64) -> Self {
        let meaning = Some(loss.meaning().into());
        Self { v: VERSION, run: None, what: Cow::Borrowed(loss.id()), count, meaning }
    }
}

/// A `summary` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary<'a> {
    /// Format version.
    pub v: u32,
    /// Runs; absent outside the lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<usize>,
    /// Connections reported.
    pub connections: usize,
    /// Connections on which the witnesses disagree; absent outside the lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disagreements: Option<usize>,
    /// Handshakes by verdict.
    pub verdicts: Counts<'a>,
    /// Clients that were hurt, at all listeners; absent outside a trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<Clients<'a>>,
    /// The sum of all losses.
    pub lost: u64,
    /// What the audit leaves unaccounted, all counters and namespaces together; absent in the lab,
    /// and where there was no audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unaccounted: Option<u64>,
    /// Whether all witnesses, counters included, agree; absent outside the lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agree: Option<bool>,
}
