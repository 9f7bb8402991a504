//! The running kernel, looked at once: release, BTF, fields, symbols.

use std::{
    borrow::Cow,
    fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use thiserror::Error;

use overflow_core::kernel::{Btf, BtfError, Facts, Symbols};

pub use crate::model_kernel::model_kernel;

/// Where the running kernel shows its BTF.
pub const VMLINUX_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Why a kernel cannot be inspected.
#[derive(Debug, Error)]
pub enum KernelError {
    /// No BTF file.
    #[error(
        "this kernel shows no BTF at {path} ({cause}), so the places of its fields are unknown; \
         use a kernel built with CONFIG_DEBUG_INFO_BTF=y, or give its BTF with --btf FILE"
    )]
    NoBtf {
        /// The file that was tried.
        path: PathBuf,
        /// Why it could not be read.
        cause: io::Error,
    },
    /// A BTF file that cannot be understood.
    #[error("cannot use the BTF in {path}")]
    BadBtf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BtfError,
    },
}

/// The running kernel.
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// `PRETTY_NAME` of os-release, or empty.
    pub distro: String,
    /// Its types.
    pub btf: Btf,
    /// What the eBPF side needs of them.
    pub facts: Facts,
    /// Whether `btf` is the running kernel's own, not a file's that stands in for it.
    own: bool,
    symbols: OnceLock<Symbols>,
}

impl Kernel {
    /// Inspects the running kernel; `btf` replaces its own BTF.
    pub fn inspect(btf: Option<&Path>) -> Result<Self, KernelError> {
        let path = btf.unwrap_or(Path::new(VMLINUX_BTF));
        let data =
            fs::read(path).map_err(|cause| KernelError::NoBtf { path: path.to_owned(), cause })?;
        let bad = |source| KernelError::BadBtf { path: path.to_owned(), source };
        let own = btf.is_none();
        let btf = Btf::parse(data).map_err(bad)?;
        let facts = Facts::resolve(&btf).map_err(bad)?;
        Ok(Self { release: release(), distro: distro(), btf, facts, own, symbols: OnceLock::new() })
    }

    /// The running kernel's own types; `None` if it shows none.
    pub fn own_btf(&self) -> Option<Cow<'_, Btf>> {
        if self.own {
            return Some(Cow::Borrowed(&self.btf));
        }
        let own = fs::read(VMLINUX_BTF).ok().and_then(|data| Btf::parse(data).ok());
        own.map(Cow::Owned)
    }

    /// Its text symbols, read when they are first asked for: that takes longer than all the rest,
    /// and only the tracepoint rung needs them.
    pub fn symbols(&self) -> &Symbols {
        self.symbols.get_or_init(symbols)
    }
}

/// `uname -r`.
pub fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// `uname -v`: the build, in which Debian names its package's version.
pub(crate) fn build() -> String {
    rustix::system::uname().version().to_string_lossy().into_owned()
}

/// The host's name, `uname -n`.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// `PRETTY_NAME` of os-release, or empty.
pub fn distro() -> String {
    os_release("PRETTY_NAME")
}

/// A value of os-release, or empty.
pub(crate) fn os_release(key: &str) -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    os_release_value(&text, key).to_owned()
}

fn os_release_value<'a>(text: &'a str, key: &str) -> &'a str {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or("").trim_matches(['"', '\''])
}

/// Reads `/proc/kallsyms`. Empty when the kernel hides addresses (`kptr_restrict`).
fn symbols() -> Symbols {
    fs::read_to_string("/proc/kallsyms")
        .map_or_else(|_| Symbols::default(), |text| Symbols::parse(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_os_release() {
        let text = "NAME=\"x\"\nID=debian\nID_LIKE=y\nPRETTY_NAME=\"Debian GNU/Linux\"\n";
        assert_eq!(os_release_value(text, "ID"), "debian");
        assert_eq!(os_release_value(text, "PRETTY_NAME"), "Debian GNU/Linux");
        assert_eq!(os_release_value("ID=\"rhel\"", "ID"), "rhel");
        assert_eq!(os_release_value("ID='rhel'", "ID"), "rhel");
        assert_eq!(os_release_value("", "ID"), "");
    }
}
