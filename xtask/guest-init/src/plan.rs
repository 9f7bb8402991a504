//! What a VM is to do: written by xtask into the initramfs, read by init.

use serde::{Deserialize, Serialize};

/// Where the plan lies in the initramfs.
pub const PLAN: &str = "/plan.json";
/// Directory of the kernel modules in the initramfs, named as in [`Plan::modules`].
pub const MODULES: &str = "/modules";

/// Everything one boot does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// File names of kernel modules, each after those it depends on.
    pub modules: Vec<String>,
    /// Commands, run one after the other.
    pub jobs: Vec<Job>,
    /// The serial line that carries the frames.
    pub frames_tty: String,
    /// Run a shell instead of the jobs.
    pub shell: Option<Shell>,
}

/// An interactive shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shell {
    /// The serial line that it runs on, which is the kernel's console as well.
    pub tty: String,
    /// The size of the terminal at the other end.
    pub size: Size,
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
