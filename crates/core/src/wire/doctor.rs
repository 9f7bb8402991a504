//! `doctor`: what `overflow doctor` found.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

/// A `doctor` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doctor<'a> {
    /// Format version.
    pub v: u32,
    /// Name and version of the program.
    pub tool: Cow<'a, str>,
    /// `uname -r`.
    pub kernel: Cow<'a, str>,
    /// `PRETTY_NAME` of os-release, or empty.
    pub distro: Cow<'a, str>,
    /// Where the kernel's types were read.
    pub btf: Cow<'a, str>,
    /// Fields that this kernel does not have.
    pub missing_fields: Vec<Cow<'a, str>>,
    /// Each hook point.
    pub hook_points: Vec<HookPoint<'a>>,
    /// Capabilities that this process lacks.
    pub missing_capabilities: Vec<Cow<'a, str>>,
    /// What a tracing process may do once it has attached, in words; `null` if it cannot be confined.
    pub confinement: Option<Cow<'a, str>>,
    /// What is not confined here that could be elsewhere, or why nothing is, as sentences.
    pub gaps: Vec<Cow<'a, str>>,
}

/// A hook point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookPoint<'a> {
    /// Which.
    pub moment: Cow<'a, str>,
    /// The rung by which it is attached; `null` if none attaches.
    pub rung: Option<Cow<'a, str>>,
    /// Hooks that are attached.
    pub attached: Vec<Cow<'a, str>>,
    /// Hooks of that rung that are not, and why.
    pub refused_hooks: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// Better rungs that do not attach, and why.
    pub refused_rungs: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// What it cannot see, in words; empty for nothing.
    pub blind: Cow<'a, str>,
}
