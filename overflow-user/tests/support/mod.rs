//! What both test binaries use.

pub mod connections;
pub mod reports;
pub mod schema;
