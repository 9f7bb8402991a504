//! Names of kernels, and the features they have.

use super::features::Features;
use thiserror::Error;

/// A kernel by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The name that was asked for.
    pub name: String,
    /// What it does.
    pub features: Features,
}
/// A name that is not known.
#[derive(Debug, Error)]
#[error("unknown")]
pub struct UnknownKernel;
/// temp
pub fn by_name(name: &str) -> Result<Kernel, UnknownKernel> {
    let features = match name {
        "el7-3.10.0-1160" => Features::EL7,
        "van4.4.155" => Features::V4_4,
        "el8-4.18.0-147" => Features::V4_15,
        "van5.4.273" | "deb5.10" => Features::V5_4,
        "deb6.1" => Features::V5_4.above_backlog(),
        "deb6.12" | "deb6.18" | "deb7.3" => Features::V6_5.above_backlog(),
        _ => return Err(UnknownKernel),
    };
    Ok(Kernel { name: name.into(), features })
}
