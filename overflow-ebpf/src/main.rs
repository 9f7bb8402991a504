//! overflow's eBPF programs: they read and report, and never judge.
//!
//! Where every handshake is traced (`all/`), a hook does one of three things to the per-CPU path
//! state of the segment being handled: begin it, set a bit in its path word, or end it and emit one
//! record. Where only overflows are (`drops/`), few hooks find them, and emit at once (`both/` has
//! what either trace attaches). No threshold and no verdict lives here; what a path means is
//! decided in user space.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![expect(internal_features, reason = "the only way to an atomic addition, see atomic.rs")]
#![expect(
    clippy::inline_always,
    reason = "calls between BPF functions cost stack, and old kernels refuse some of them"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "fields are read as u64 and cut back to the size the kernel gives them"
)]
#![expect(clippy::needless_pass_by_value, reason = "a hook's context is a pointer")]

// Each imports only what is above it.
mod globals;
mod losses;
mod atomic;
mod arm;
mod read;
mod retry;
mod sock;
mod skb;
mod openers;
mod filter;
mod emit;
mod number;
mod counters;
mod audit;
mod survey;
mod tally;
mod state;
mod followed;
mod report;
mod both;
mod all;
mod drops;

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses loops without an exit: a program that could panic does not load.
    loop {}
}
