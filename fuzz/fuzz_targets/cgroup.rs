//! `/proc/PID/cgroup`, whose paths anybody may name who may make control groups.
#![no_main]

use libfuzzer_sys::fuzz_target;
use overflow_core::{
    owner::parse_cgroup,
    text::untrusted::{LIMIT, is_harmless},
};

fuzz_target!(|bytes: &[u8]| {
    let found = parse_cgroup(&String::from_utf8_lossy(bytes));
    let container =
        found.container.iter().flat_map(|c| [c.runtime.clone(), c.id.clone(), c.short_id()]);
    for name in [found.path].into_iter().chain(found.unit).chain(found.pod).chain(container) {
        assert!(name.len() <= LIMIT);
        assert!(name.shown().chars().all(is_harmless));
    }
});
