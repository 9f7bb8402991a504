//! A run as one HTML page that explains itself: no script, nothing to load, readable by keyboard,
//! screen reader and printer.
//!
//! A [`Collector`] takes the lines that every command prints as JSON and keeps what a page has room
//! for: of millions of connections those that tell most, of the queues their course in a few hundred
//! steps, of everything else its number. [`Collector::page`] is then a pure function of that. Text from
//! outside is escaped in one place ([`html::Shown`]).

mod chart;
mod collect;
mod fate;
mod html;
mod page;
mod scene;
mod step;
mod story;
mod timeline;

pub use collect::Collector;
