//! What must be known of a kernel, from its BTF and its symbols.

mod btf;
pub mod btf_kind;
mod facts;
mod symbols;

pub use btf::{Btf, BtfError};
pub use facts::{Constant, Facts, NeededBy};
pub use symbols::Symbols;
