//! A kernel's BTF, which `--btf FILE` takes from anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;
use overflow_core::kernel::{Btf, Facts};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(btf) = Btf::parse(bytes.to_vec()) {
        let _ = Facts::resolve(&btf);
    }
});
