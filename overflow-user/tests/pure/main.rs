//! Tests that run anywhere: no privilege, no other program, no particular kernel.

mod audit_replay;
mod documents;
mod examples;
mod expect;
mod model_docs;
mod model_ground_truth;
mod openers;
mod pcap;
mod replay_hostile;
mod replay_part;
mod report;
mod sink;
mod sockets;
#[path = "../support/mod.rs"]
mod support;
mod trace_replay;
mod web;
mod whatif;
