//! What this process was started with: signals that it ignores, capabilities that it has.

use std::fs;

use crate::own_thread;

/// Whether `signal` is ignored, as `nohup` has SIGHUP ignored; unknown is no.
pub fn ignored(signal: u32) -> bool {
    // Signals are counted from 1.
    signal.checked_sub(1).is_some_and(|bit| is_set(&status(), "SigIgn", bit))
}

/// Whether this thread may look into every process (`CAP_SYS_PTRACE`).
pub(crate) fn may_ptrace() -> bool {
    const CAP_SYS_PTRACE: u32 = 19;
    is_set(&status(), "CapEff", CAP_SYS_PTRACE)
}

fn status() -> String {
    fs::read_to_string(own_thread::file("status")).unwrap_or_default()
}

/// A bit of a mask in hexadecimal.
fn is_set(status: &str, field: &str, bit: u32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask.checked_shr(bit).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_has_a_bit_for_each() {
        let status = "Name:\toverflow\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert!(is_set(status, "SigIgn", 0) && is_set(status, "SigIgn", 12));
        assert!(!is_set(status, "SigIgn", 1) && !is_set(status, "SigIgn", 64));
        assert!(!is_set(status, "CapEff", 0) && !is_set("", "SigIgn", 0));
        assert!(is_set("CapEff:\t000001ffffffffff\n", "CapEff", 19));
    }
}
