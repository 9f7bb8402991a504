//! The architectures that the tool runs on: everything that building for one, and booting one, has
//! of its own.

use clap::ValueEnum;

use crate::tools::Tool;

/// An architecture, by Debian's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Arch {
    /// x86-64.
    #[value(alias = "x86_64")]
    Amd64,
    /// 64-bit Arm.
    #[value(alias = "aarch64")]
    Arm64,
}

/// A serial line of a machine: QEMU's arguments, and the device that the guest sees.
pub struct Frames {
    /// What attaches the character device named `frames`.
    pub qemu: &'static [&'static str],
    /// Its path in the guest.
    pub tty: &'static str,
}

impl Arch {
    /// This machine's own; x86-64 where it is neither.
    pub const HOST: Self = if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::Amd64 };

    /// What Debian calls it.
    pub const fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The Rust target of releases and VMs, statically linked to musl.
    pub const fn static_target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// What cargo is told to link with, where this machine's own linker does not do: the toolchain's
    /// LLD, which needs no C compiler because musl and its start files come with the Rust target.
    pub fn linker(self) -> Option<(&'static str, &'static str)> {
        let variable = match self {
            Self::Amd64 => "CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER",
            Self::Arm64 => "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER",
        };
        (self != Self::HOST).then_some((variable, "rust-lld"))
    }

    /// Where Debian puts libraries: `/usr/lib/` and this.
    pub const fn multiarch(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-linux-gnu",
            Self::Arm64 => "aarch64-linux-gnu",
        }
    }

    /// The dynamic loader of Debian's programs.
    pub const fn loader(self) -> &'static str {
        match self {
            Self::Amd64 => "lib64/ld-linux-x86-64.so.2",
            Self::Arm64 => "lib/ld-linux-aarch64.so.1",
        }
    }

    /// Its emulator.
    pub const fn qemu(self) -> Tool {
        match self {
            Self::Amd64 => Tool::new("qemu-system-x86_64", "qemu-system-x86"),
            Self::Arm64 => Tool::new("qemu-system-aarch64", "qemu-system-arm"),
        }
    }

    /// The emulated machine and its processor, as QEMU's arguments.
    pub const fn machine(self) -> &'static [&'static str] {
        match self {
            // QEMU 7.2's emulation of cmpxchg16b leaves wrong flags, on which SLUB's lockless paths
            // crash: the kernel must not use it.
            Self::Amd64 => &["-cpu", "max,cx16=off"],
            // Signing pointers by the architecture's own algorithm takes most of the time; 5.10 does not
            // boot where LPA2 is; and a counter of a nanosecond's step shows single instructions, where
            // the default is 16 of them.
            Self::Arm64 => {
                &["-machine", "virt", "-cpu", "max,pauth-impdef=on,lpa2=off,cntfrq=1000000000"]
            }
        }
    }

    /// Words for the command line of every kernel.
    pub const fn cmdline(self) -> &'static str {
        match self {
            // The check of the timer's interrupt counts loops, and a loaded host lets it fail
            // ("IO-APIC + timer doesn't work!").
            Self::Amd64 => "no_timer_check",
            Self::Arm64 => "",
        }
    }

    /// The kernel's name of the first serial line, which is its console.
    pub const fn console(self) -> &'static str {
        match self {
            Self::Amd64 => "ttyS0",
            Self::Arm64 => "ttyAMA0",
        }
    }

    /// The serial line that carries frames. Its driver is built into every kernel, unlike virtio's.
    pub const fn frames(self) -> Frames {
        match self {
            Self::Amd64 => Frames { qemu: &["-serial", "chardev:frames"], tty: "/dev/ttyS1" },
            // The machine has one serial line of its own; the next is a PCI card.
            Self::Arm64 => {
                Frames { qemu: &["-device", "pci-serial,chardev=frames"], tty: "/dev/ttyS0" }
            }
        }
    }

    /// The first kernel in whose functions BPF trampolines can be, where not all have them: on arm64 they
    /// need ftrace's direct calls, 2aa6ac03516d.
    pub const fn fentry_since(self) -> Option<(u32, u32)> {
        match self {
            Self::Amd64 => None,
            Self::Arm64 => Some((6, 4)),
        }
    }

    /// What tells names of results apart: nothing for x86-64, whose names are older.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Amd64 => "",
            Self::Arm64 => "-arm64",
        }
    }
}

impl Default for Arch {
    fn default() -> Self {
        Self::HOST
    }
}
