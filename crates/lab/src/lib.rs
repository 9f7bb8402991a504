//! Makes real overflows in network namespaces of its own, and reports what it saw without eBPF.
//!
//! A [`Cell`] is prepared, then run once. Both sides live on threads that entered anonymous
//! network namespaces; nothing outside those is changed, and nothing of them outlives the process.

#![warn(unreachable_pub)]

mod capture;
mod cell;
mod ends;
mod error;
mod explain;
mod link;
mod model_check;
pub mod random;
pub mod report;
pub mod run;
pub mod scenarios;
pub mod tracing;
pub mod witness;

pub use cell::{
    Cell, Progress,
    config::CellConfig,
    global,
    observation::{ClientView, ListenerQueue, Observation, ServerSocket, Timeline},
    script::{Action, Script, Setup, Step},
};
pub use ends::{
    crafted::{Crafted, Segment},
    family::Family,
    two_hosts,
};
pub use error::LabError;
pub use link::netem::add as delay_what_is_sent;
pub use model_check::HostModel;
