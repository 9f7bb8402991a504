//! The sinks on hand-made reports: text against expect files, JSON lines against the schema.

mod lines;
mod text;
