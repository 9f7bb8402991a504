//! Files of procfs, each as each of its readers would read it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    overflow_host::fuzzing::tcp(&text);
    overflow_host::fuzzing::process(&text);
    overflow_host::fuzzing::netstat(&text);
});
