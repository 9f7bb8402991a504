//! What both test binaries use.

pub mod connections;
pub mod examples;
pub mod reports;
pub mod schema;
pub mod written;
