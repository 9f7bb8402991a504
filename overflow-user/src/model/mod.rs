//! The kernel model (pure).
