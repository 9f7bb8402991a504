//! Cases: scripts and the tool that traces them; and what became of each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::said::Said;

/// What is to be played.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The tool: path and arguments; it prints JSON lines.
    pub tool: Vec<String>,
    /// The scripts, as [`crate::script::parse`] reads them. The tool is started once: what each
    /// does before it traces is done before, then the rest of each, one after the other. Where there
    /// are several, none may start or stop the tool in another way.
    pub scripts: Vec<String>,
}

/// What happened while a script was played.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Every listener that was opened, by its name in the script.
    pub listeners: BTreeMap<String, Listener>,
    /// What the actors' network namespaces counted from the trace's begin to its end (`TcpExt` of
    /// /proc/net/netstat), by actor; zeroes left out.
    pub counters: BTreeMap<String, BTreeMap<String, u64>>,
    /// Inode numbers of the actors' network namespaces.
    pub namespaces: BTreeMap<String, u64>,
    /// What each namespace of a storm counted, by its inode number.
    pub storm: BTreeMap<u64, BTreeMap<String, u64>>,
    /// What the tool printed.
    pub said: Said,
    /// What this machine lacks, so that the case cannot be played.
    pub lacks: Option<String>,
    /// Why it was not played to its end.
    pub failed: Option<String>,
    /// What did not go as the script has it: the case itself is wrong, or the machine is.
    pub wrong: Vec<String>,
    /// The end of the tool's standard error.
    pub stderr: String,
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The actor that opened it: the name of its process.
    pub actor: String,
    /// Its process.
    pub pid: u32,
    /// Inode number of its network namespace.
    pub netns: u64,
    /// Inode number of the socket; 0 for one of the kernel's own, which no process holds.
    pub inode: u64,
    /// Its own address: `0.0.0.0:80`, `[::]:80`.
    pub address: String,
}

/// What an actor answers to an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is done.
    Done,
    /// It is done, and these are open.
    Listening(Vec<(String, Listener)>),
    /// It is done, and these namespaces counted so much.
    Counted(BTreeMap<u64, BTreeMap<String, u64>>),
    /// It is done, but not with the result that the script names.
    Wrong(String),
    /// It cannot be done here.
    Lacks(String),
    /// It failed.
    Failed(String),
}
