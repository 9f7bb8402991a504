//! The sinks on hand-made reports: text against expect files, JSON lines against the schema, the
//! capture against its reader and tshark.

mod capture;
mod expect;
mod lines;
mod sample;
mod schema;
mod text;
