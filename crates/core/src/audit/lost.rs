//! Which losses can hide that something happened.

use overflow_common::Loss as Kernel;

use crate::loss::Loss;

/// Those that explain what is missing, one each at most. `by_records`: what is told comes by the
/// ring, and not from counts in the kernel, which a full ring does not hurt.
pub(super) fn explaining(losses: &[(Loss, u64)], by_records: bool) -> Vec<(Loss, u64)> {
    losses.iter().filter(|(loss, n)| *n > 0 && hides(loss, by_records)).cloned().collect()
}

fn hides(loss: &Loss, by_records: bool) -> bool {
    match loss {
        Loss::Kernel(
            Kernel::BadHeader | Kernel::PathInterrupted | Kernel::BadRead | Kernel::Uncounted,
        )
        | Loss::HookMissed => true,
        Loss::Kernel(Kernel::RingFull)
        | Loss::OtherBuild
        | Loss::NoRoomMeanwhile
        | Loss::Undecoded
        | Loss::DamagedFrames
        | Loss::Merged
        | Loss::NoTemplate => by_records,
        // What was compared was compared before.
        Loss::CutOff
        | Loss::StaleOwners
        | Loss::Forgotten
        | Loss::NoRoomInTable
        | Loss::NotShown
        | Loss::MetricsUndelivered
        | Loss::MetricsRefused
        | Loss::LogsUndelivered
        | Loss::LogsRefused
        | Loss::Capture
        | Loss::NotApart
        | Loss::Link => false,
        Loss::Other(_) => loss.hides_records(),
    }
}
