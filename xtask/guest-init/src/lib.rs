//! What xtask and the init inside its VMs say to each other: the plan going in with the
//! initramfs, the frames coming out over a serial line.

pub mod frame;
pub mod plan;
