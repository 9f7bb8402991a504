//! The options that make cells of one burst, shared by `lab` and `predict`.

use std::time::Duration;

use clap::Args;

use super::parsers::{self, Choice};

/// What differs from cell to cell, and the delay that makes the connects concurrent.
#[derive(Clone, Debug, Args)]
pub(super) struct CellArgs {
    /// Delay of the packets the server sends
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = parsers::milliseconds)]
    pub(super) delay: Duration,
    /// net.ipv4.tcp_abort_on_overflow: 0, 1 or both
    #[arg(long, value_name = "0|1|both", default_value = "both", value_parser = parsers::abort)]
    abort_on_overflow: Choice,
    /// net.ipv4.tcp_syncookies: 0, 1, 2 or both (1 and 0)
    #[arg(long, value_name = "0|1|2|both", default_value = "both", value_parser = parsers::syncookies)]
    syncookies: Choice,
}

impl CellArgs {
    /// Every chosen `syncookies` with every chosen `abort_on_overflow`, in this order.
    pub(super) fn sysctls(&self) -> impl Iterator<Item = (u8, u8)> {
        self.syncookies.0.iter().flat_map(|&syncookies| {
            self.abort_on_overflow.0.iter().map(move |&abort| (syncookies, abort))
        })
    }
}
