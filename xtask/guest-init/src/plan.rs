//! What a VM is to do: written by xtask into the initramfs, read by init.

use serde::{Deserialize, Serialize};

/// Where the plan lies in the initramfs.
pub const PLAN: &str = "/plan.json";
/// Directory of the kernel modules in the initramfs, named as in [`Plan::modules`].
pub const MODULES: &str = "/modules";
/// The serial line that carries the frames.
pub const FRAMES_TTY: &str = "/dev/ttyS1";
/// The serial line of an interactive shell, and the kernel's console.
pub const CONSOLE_TTY: &str = "/dev/ttyS0";

/// Everything one boot does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// File names of kernel modules, each after those it depends on.
    pub modules: Vec<String>,
    /// Commands, run one after the other.
    pub jobs: Vec<Job>,
    /// Run a shell on the console instead of the jobs, in a terminal of this size.
    pub shell: Option<Size>,
}

/// One command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Program and arguments; the program is looked up in `/bin`.
    pub argv: Vec<String>,
    /// Environment, besides PATH and HOME.
    pub env: Vec<(String, String)>,
    /// The terminal that standard output is to look like; a pipe if `None`.
    pub stdout: Option<Size>,
    /// The terminal that standard error is to look like; a pipe if `None`.
    pub stderr: Option<Size>,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Width.
    pub columns: u16,
    /// Height.
    pub rows: u16,
}
