//! What could not be reported is counted.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use overflow_common::Loss;

/// What could not be reported, by [`Loss`].
#[btf_map]
pub static LOSSES: PerCpuArray<u64, { Loss::COUNT }> = PerCpuArray::new();

/// Counts one loss.
#[inline(always)]
pub fn count(loss: Loss) {
    if let Some(counter) = LOSSES.get_ptr_mut(loss as u32) {
        // SAFETY: the slot is this CPU's own, and programs on one CPU do not preempt each other
        // inside one attach point; a race with another hook can lose a count, not memory safety.
        unsafe { *counter += 1 };
    }
}
