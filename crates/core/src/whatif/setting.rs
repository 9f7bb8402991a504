//! What is asked about: a setting of the listener, its kernel and its application.

use super::recorded::{Place, Recorded};
use crate::model::{
    config::Sysctls,
    features::{Features, SynQueueTest},
};

/// One setting; `None` is as it was recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Setting {
    /// The `backlog` argument of `listen(2)`.
    pub backlog: Option<u32>,
    /// `net.core.somaxconn`.
    pub somaxconn: Option<u32>,
    /// `net.ipv4.tcp_max_syn_backlog`.
    pub syn_backlog: Option<u32>,
    /// `net.ipv4.tcp_syncookies`.
    pub syncookies: Option<u8>,
    /// `net.ipv4.tcp_abort_on_overflow`.
    pub abort: Option<u8>,
    /// A kernel by name, and what it does.
    pub kernel: Option<(String, Features)>,
    /// Connections that the application takes a second, evenly, whenever one waits: each process of a
    /// group.
    pub accept_rate: Option<f64>,
    /// Sockets that share the address by `SO_REUSEPORT`, each with an application as fast as that
    /// of the recorded ones.
    pub members: Option<u32>,
}

/// What is assumed of the clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    /// Their kernel's timers, as far as these decide.
    pub features: Features,
    /// Whether each sends data as soon as it is connected; `None` is as it was seen, and yes where
    /// that was not seen.
    pub data: Option<bool>,
    /// After so long each gives up, nanoseconds.
    pub timeout: Option<i64>,
}

impl Setting {
    /// The settings that these values make, each with each.
    pub fn combinations(choices: &Choices) -> Vec<Self> {
        let mut all = vec![Self::default()];
        with(&mut all, &choices.kernels, |s, v| s.kernel = Some(v));
        with(&mut all, &choices.members, |s, v| s.members = Some(v));
        with(&mut all, &choices.accept_rate, |s, v| s.accept_rate = Some(v));
        with(&mut all, &choices.somaxconn, |s, v| s.somaxconn = Some(v));
        with(&mut all, &choices.syn_backlog, |s, v| s.syn_backlog = Some(v));
        with(&mut all, &choices.syncookies, |s, v| s.syncookies = Some(v));
        with(&mut all, &choices.abort, |s, v| s.abort = Some(v));
        with(&mut all, &choices.backlog, |s, v| s.backlog = Some(v));
        all
    }

    /// What differs from the recording, as `name value` in the words of the command line.
    pub fn changes(&self) -> Vec<(&'static str, String)> {
        let Self {
            backlog,
            somaxconn,
            syn_backlog,
            syncookies,
            abort,
            kernel,
            accept_rate,
            members,
        } = self;
        let number = |n: Option<u32>| n.map(|n| n.to_string());
        let small = |n: Option<u8>| n.map(|n| n.to_string());
        [
            ("kernel", kernel.as_ref().map(|(name, _)| name.clone())),
            ("members", number(*members)),
            ("accept-rate", accept_rate.map(|rate| format!("{rate}"))),
            ("somaxconn", number(*somaxconn)),
            ("syn-backlog", number(*syn_backlog)),
            ("syncookies", small(*syncookies)),
            ("abort", small(*abort)),
            ("backlog", number(*backlog)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }

    /// The backlog that `listen()` is called with. Of one that was clamped by `somaxconn` nobody knows
    /// how much was asked for: another `somaxconn` is taken to show it.
    pub(super) fn backlog(&self, recorded: u32, somaxconn: Option<u32>) -> u32 {
        let clamped = somaxconn == Some(recorded) && self.somaxconn.is_some();
        self.backlog.unwrap_or(if clamped { u32::MAX } else { recorded })
    }

    /// The sysctls; what was not recorded is the kernel's default.
    pub(super) fn sysctls(&self, place: &Place) -> Sysctls {
        let (recorded, default) = (&place.sysctls, Sysctls::default());
        let syn_backlog = self.syn_backlog.or(recorded.max_syn_backlog);
        // What the listener had is no longer clamped.
        let somaxconn = match (self.somaxconn, self.backlog) {
            (None, None) => Some(u32::MAX),
            (asked, _) => asked.or(recorded.somaxconn),
        };
        Sysctls {
            syncookies: self.syncookies.or(recorded.syncookies).unwrap_or(default.syncookies),
            abort_on_overflow: self
                .abort
                .or(recorded.abort_on_overflow)
                .unwrap_or(default.abort_on_overflow),
            somaxconn,
            max_syn_backlog: syn_backlog.unwrap_or(default.max_syn_backlog),
            synack_retries: recorded.synack_retries.unwrap_or(default.synack_retries),
            syn_retries: default.syn_retries,
        }
    }

    /// The server's kernel: that which was named, or the recorded one as it was seen to act.
    pub(super) fn features(&self, recorded: &Recorded, its_own: Features) -> Features {
        if let Some((_, features)) = &self.kernel {
            return *features;
        }
        let seen = recorded.syn_queue_limit.map(SynQueueTest::from);
        let syn_queue = match (its_own.syn_queue, seen) {
            (SynQueueTest::MaxQlenLog, _) | (_, None) => its_own.syn_queue,
            (_, Some(seen)) => seen,
        };
        Features { syn_queue, ..its_own }
    }
}

/// Each of `all` with each of these values.
fn with<T: Clone>(all: &mut Vec<Setting>, values: &[T], set: impl Fn(&mut Setting, T)) {
    if values.is_empty() {
        return;
    }
    let each = all.iter().flat_map(|setting| {
        values.iter().map(|value| {
            let mut setting = setting.clone();
            set(&mut setting, value.clone());
            setting
        })
    });
    *all = each.collect();
}

/// The values to choose from; an empty list is as recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choices {
    /// See [`Setting::backlog`].
    pub backlog: Vec<u32>,
    /// See [`Setting::somaxconn`].
    pub somaxconn: Vec<u32>,
    /// See [`Setting::syn_backlog`].
    pub syn_backlog: Vec<u32>,
    /// See [`Setting::syncookies`].
    pub syncookies: Vec<u8>,
    /// See [`Setting::abort`].
    pub abort: Vec<u8>,
    /// See [`Setting::kernel`].
    pub kernels: Vec<(String, Features)>,
    /// See [`Setting::accept_rate`].
    pub accept_rate: Vec<f64>,
    /// See [`Setting::members`].
    pub members: Vec<u32>,
}
