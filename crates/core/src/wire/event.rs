//! `event`: one kernel event. Of these there can be millions.

use std::{borrow::Cow, net::SocketAddr};

use serde::{Deserialize, Serialize};

use super::{Candidate, Owner, address};
use crate::verdict::{self, Values, VerdictId};

/// An `event` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event<'a> {
    /// Format version.
    pub v: u32,
    /// The cell's name; absent outside the lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Cow<'a, str>>,
    /// CLOCK_MONOTONIC, nanoseconds.
    pub t_ns: u64,
    /// The kernel function or tracepoint.
    pub hook: Cow<'a, str>,
    /// The client's end, where the event has one.
    #[serde(serialize_with = "address::serialize_option")]
    pub client: Option<SocketAddr>,
    /// The server's end, where the event has one.
    #[serde(serialize_with = "address::serialize_option")]
    pub server: Option<SocketAddr>,
    /// Kernel functions gone through, outermost first.
    #[serde(default, skip_serializing_if = "Functions::is_empty")]
    pub path: Functions<'a>,
    /// Kernel values read.
    #[serde(default, skip_serializing_if = "no_values")]
    pub values: Cow<'a, Values>,
    /// Inode number of the listener's network namespace; this and what follows is absent in the lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<u32>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<VerdictId>,
    /// How that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Known>,
    /// From what it was inferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Cow<'a, str>>,
    /// The listener's own address, as `ss` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<Cow<'a, str>>,
    /// Inode number of its socket; absent where it is not known which one it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
    /// How many listeners share that address; absent for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuseport_group: Option<usize>,
    /// Who holds the listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner<'a>>,
    /// The sockets that it can be, where it is not known which; empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate<'a>>,
}

/// Whether the kernel's branch itself was observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Known {
    /// It was.
    Traced,
    /// It follows from something else.
    Inferred,
}

impl Known {
    /// The word of the line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Traced => "traced",
            Self::Inferred => "inferred",
        }
    }

    /// In the words of a line: how it is known, and from what it was inferred.
    pub fn of(known: &verdict::Known) -> (Self, Option<Cow<'_, str>>) {
        match known {
            verdict::Known::Traced => (Self::Traced, None),
            verdict::Known::Inferred(why) => (Self::Inferred, Some(Cow::Borrowed(&**why))),
        }
    }
}

/// Names of kernel functions, outermost first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged, from = "Vec<String>")]
pub enum Functions<'a> {
    /// Those of this program, to be written.
    Known(&'a [&'static str]),
    /// Any, as they were read.
    Read(Vec<String>),
}

impl Functions<'_> {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Known(names) => names.is_empty(),
            Self::Read(names) => names.is_empty(),
        }
    }

    fn names(&self) -> Vec<&str> {
        match self {
            Self::Known(names) => names.to_vec(),
            Self::Read(names) => names.iter().map(String::as_str).collect(),
        }
    }
}

impl Default for Functions<'_> {
    fn default() -> Self {
        Self::Known(&[])
    }
}

impl From<Vec<String>> for Functions<'_> {
    fn from(names: Vec<String>) -> Self {
        Self::Read(names)
    }
}

impl PartialEq for Functions<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.names() == other.names()
    }
}

impl Eq for Functions<'_> {}

#[expect(clippy::ptr_arg, reason = "the signature serde calls")]
pub(super) fn no_values(values: &Cow<'_, Values>) -> bool {
    **values == Values::default()
}
