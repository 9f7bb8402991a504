//! Which signals this process was started to ignore.

use std::fs;

/// Whether `signal` is ignored, as `nohup` has SIGHUP ignored; unknown is no.
pub fn ignored(signal: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    is_in(&status, signal)
}

/// `SigIgn` is a mask in hexadecimal, the first signal its lowest bit.
fn is_in(status: &str, signal: u32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    signal.checked_sub(1).and_then(|bit| mask.checked_shr(bit)).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_has_a_bit_for_each() {
        let status = "Name:\toverflow\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert!(is_in(status, 1) && is_in(status, 13));
        assert!(!is_in(status, 2) && !is_in(status, 0) && !is_in(status, 65));
        assert!(!is_in("", 1));
    }
}
