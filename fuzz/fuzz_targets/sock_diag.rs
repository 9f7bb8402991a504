//! Datagrams of `sock_diag`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| overflow_host::fuzzing::datagram(bytes));
