//! The contract between overflow's eBPF programs and its user space.
#![no_std]
