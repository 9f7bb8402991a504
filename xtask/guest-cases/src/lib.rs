//! What xtask asks of the program that plays a case, and what that program answers.

pub mod action;
pub mod job;
pub mod load;
pub mod said;
pub mod script;
pub mod words;
