//! Makes real overflows in network namespaces of its own, and says what it saw without eBPF.

mod config;
mod observation;

pub use config::CellConfig;
pub use observation::{
    ClientView, LinkKind, ListenerQueue, Observation, Phase, ServerSocket, Timeline,
};
