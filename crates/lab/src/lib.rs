//! Makes real overflows in network namespaces of its own, and reports what it saw without eBPF.
//!
//! A [`Cell`] is prepared, then run once. Both sides live on threads that entered anonymous
//! network namespaces; nothing outside those is changed, and nothing of them outlives the process.

#![warn(unreachable_pub)]

mod capture;
mod cell;
mod clients;
mod concurrent;
mod config;
mod crafted;
mod delay;
mod destroy;
mod error;
mod explain;
mod family;
mod files;
mod forward;
mod ifreq;
mod link;
mod listener;
mod model_check;
mod netem;
mod netlink;
mod netns;
mod observation;
mod offload;
mod parse;
pub mod random;
pub mod report;
mod rules;
pub mod run;
pub mod scenarios;
mod script;
mod sockopt;
mod steps;
mod sysctl;
pub mod tracing;
mod tun;
pub mod two_hosts;
mod veth;
mod watched;
pub mod witness;

pub use cell::{Cell, Progress};
pub use config::CellConfig;
pub use crafted::{Crafted, Segment};
pub use error::LabError;
pub use family::Family;
pub use model_check::HostModel;
pub use observation::{ClientView, ListenerQueue, Observation, ServerSocket, Timeline};
pub use script::{Action, Script, Setup, Step};
