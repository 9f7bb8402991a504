//! What one cell of the experiment is: plain data, no I/O.

use std::time::Duration;

use crate::{Family, LabError, Script};

/// Source port of the first prefill connection; the n-th has the n-th port after it.
pub(crate) const PREFILL_PORT: u16 = 20001;
/// Source port of the burst's first connection; the n-th in order of `connect()` has the n-th
/// port after it.
pub(crate) const BURST_PORT: u16 = 30001;
/// Source port of the first connection made by hand.
pub(crate) const CRAFTED_PORT: u16 = 60_002;
/// Prefill connections one cell has source ports for.
pub(crate) const MAX_PREFILL: u32 = (BURST_PORT - PREFILL_PORT) as u32;
/// Clients one cell has source ports for.
pub(crate) const MAX_CLIENTS: u32 = 30_000;

/// One cell: one listener, one setting of the sysctls, one burst of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellConfig {
    /// `net.ipv4.tcp_abort_on_overflow` in the server's namespace.
    pub abort_on_overflow: u8,
    /// `net.ipv4.tcp_syncookies` in the server's namespace.
    pub syncookies: u8,
    /// The `backlog` argument of `listen(2)`.
    pub backlog: u32,
    /// `net.core.somaxconn` in the server's namespace, if it is to be changed.
    pub somaxconn: Option<u32>,
    /// Clients that connect at once.
    pub clients: u32,
    /// The listener's port.
    pub port: u16,
    /// One-way delay added to what the server sends.
    pub delay: Duration,
    /// Connections completed before the burst.
    pub prefill: u32,
    /// Bytes each client of the burst sends once it believes it is connected.
    pub payload: usize,
    /// How long the world is watched after the burst before the listener is closed.
    pub hold: Duration,
    /// Which IP clients and listener speak.
    pub family: Family,
    /// What happens beside the burst.
    pub script: Script,
}

impl CellConfig {
    /// The seed experiment with both sysctls at the kernel's defaults.
    pub const SEED: Self = Self {
        abort_on_overflow: 0,
        syncookies: 1,
        backlog: 1,
        somaxconn: None,
        clients: 5,
        port: 12345,
        delay: Duration::from_millis(200),
        prefill: 0,
        payload: 0,
        hold: Duration::from_secs(5),
        family: Family::Ipv4,
        script: Script { name: "", setup: &[], steps: &[] },
    };

    /// The cell's name in every output: `abort=1,syncookies=1`, then what else is special about it.
    pub fn run_name(&self) -> String {
        let mut name = format!("abort={},syncookies={}", self.abort_on_overflow, self.syncookies);
        if self.family != Family::Ipv4 {
            name.push_str(",family=");
            name.push_str(self.family.as_str());
        }
        if !self.script.name.is_empty() {
            name.push_str(",scenario=");
            name.push_str(self.script.name);
        }
        name
    }

    /// Whether the numbers can mean anything, before any namespace is made.
    pub fn check(&self) -> Result<(), LabError> {
        if self.clients == 0 && !self.script.crafts() {
            return Err(LabError::NoClients);
        }
        if self.clients > MAX_CLIENTS {
            return Err(LabError::TooManyClients(self.clients));
        }
        if self.prefill > MAX_PREFILL {
            return Err(LabError::PrefillTooLarge(self.prefill));
        }
        if i32::try_from(self.backlog).is_err() {
            return Err(LabError::Backlog(self.backlog));
        }
        if self.port == 0 {
            return Err(LabError::Port);
        }
        Ok(())
    }

    /// Connections the accept queue holds when `net.core.somaxconn` is `somaxconn`: it is full
    /// when `sk_ack_backlog > sk_max_ack_backlog`, so it takes one more than the limit
    /// (`sk_acceptq_is_full` in include/net/sock.h; `>` since 2.6.21, commit 64a146513f8f).
    pub(crate) fn accept_queue_room(&self, somaxconn: u32) -> u32 {
        self.backlog.min(somaxconn).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed() -> CellConfig {
        CellConfig {
            abort_on_overflow: 1,
            syncookies: 0,
            hold: Duration::from_secs(2),
            ..CellConfig::SEED
        }
    }

    #[test]
    fn names_its_cell() {
        assert_eq!(seed().run_name(), "abort=1,syncookies=0");
        let mapped = CellConfig { family: Family::Mapped, ..seed() };
        assert_eq!(mapped.run_name(), "abort=1,syncookies=0,family=mapped");
    }

    #[test]
    fn refuses_what_cannot_run() {
        assert!(seed().check().is_ok());
        let cases: [fn(&mut CellConfig); 5] = [
            |c| c.clients = 0,
            |c| c.clients = MAX_CLIENTS + 1,
            |c| c.prefill = MAX_PREFILL + 1,
            |c| c.backlog = 1 << 31,
            |c| c.port = 0,
        ];
        for spoil in cases {
            let mut config = seed();
            spoil(&mut config);
            assert!(config.check().is_err(), "{config:?}");
        }
    }

    #[test]
    fn the_queue_takes_one_more_than_its_limit() {
        assert_eq!(seed().accept_queue_room(4096), 2);
        assert_eq!(CellConfig { backlog: 500, ..seed() }.accept_queue_room(128), 129);
    }
}
