//! overflow's developer commands: everything a fresh machine needs to run and test the tool.

mod apt;
mod arch;
mod artifacts;
mod bench;
mod browser;
mod btf;
mod cases;
mod exec;
mod expected;
mod vm_pool;
mod foreign;
mod fuzz;
mod ground_truth;
mod guest;
mod initramfs;
mod kernel_image;
mod kernels;
mod labtest;
mod lines;
mod live;
mod lock;
mod machine;
mod matrix;
mod mirrors;
mod modules;
mod needs;
mod no_btf;
mod packages;
mod progress;
mod run;
mod rung;
mod setup;
mod site;
mod skips;
mod soak;
mod storm;
mod storm_document;
mod test;
mod tidy;
mod tools;
mod vm;
mod whatif;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use arch::Arch;

/// overflow's developer commands
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what building needs: rust-src, the musl target, bpf-linker
    Setup,
    /// Build, then run `overflow lab` with everything it needs
    #[command(after_help = "Examples:\n  cargo xtask run\n  cargo xtask run -- --clients 8\n  \
        cargo xtask run --vm 6.12 -- --output json\n  cargo xtask run --vm 5.10.223-1\n  \
        cargo xtask run --vm 6.12-16k --arch arm64")]
    Run(run::RunArgs),
    /// Check everything: tidiness, format, lints, unit tests, the lab here and in VMs
    #[command(
        after_help = "The last line is `N passed, N failed, N skipped`, after a line for each \
        that was skipped; the exit status is 0 only if nothing failed. What was skipped although it \
        could run here has failed."
    )]
    Test(test::TestArgs),
    /// Run measured scenarios again in VMs: is each connection's fate as it was measured?
    #[command(after_help = "Examples:\n  cargo xtask ground-truth\n  \
        cargo xtask ground-truth --sample 5 --seed 7 --kernels 6.1,6.12")]
    GroundTruth(ground_truth::GroundTruthArgs),
    /// Run every scenario of the lab on every kernel, and write docs/kernel-matrix
    #[command(
        after_help = "Examples:\n  cargo xtask matrix\n  cargo xtask matrix --arch arm64\n  \
        cargo xtask matrix --check --kernels 6.12 --rungs fentry --scenarios centos7"
    )]
    Matrix(matrix::MatrixArgs),
    /// Count what tracing costs a handshake, and what others cost; write docs/performance
    #[command(after_help = "Examples:\n  cargo xtask bench\n  cargo xtask bench --quick\n  \
        cargo xtask bench --only trace,full-bt")]
    Bench(bench::BenchArgs),
    /// Play crafted segments and servers to `overflow trace`: is what it says what the kernel did?
    #[command(after_help = "Examples:\n  cargo xtask cases\n  \
        cargo xtask cases --kernels 6.12 --rungs fentry --cases reuseport\n  \
        cargo xtask cases --native")]
    Cases(cases::CasesArgs),
    /// Record loads at one setting, predict another, run that other: how far off is `overflow whatif`?
    #[command(after_help = "Examples:\n  cargo xtask whatif --pairs 20\n  \
        cargo xtask whatif --kernels 5.10,6.12 --pairs 300 --write")]
    Whatif(whatif::WhatifArgs),
    /// Flood listeners in a VM: are the tool's counts the kernel's, and every loss reported?
    #[command(after_help = "Examples:\n  cargo xtask storm\n  \
        cargo xtask storm --rung tracepoint --smp 2 --syns 100000")]
    Storm(storm::StormArgs),
    /// Trace mixed load in a VM for a long time: does the memory stay flat?
    Soak(soak::SoakArgs),
    /// Feed every decoder what nobody would send: executions, crashes and memory of each in a table
    #[command(after_help = "Examples:\n  cargo xtask fuzz\n  cargo xtask fuzz --seconds 3600\n  \
        cargo xtask fuzz --targets cgroup,packet --runs 10000000")]
    Fuzz(fuzz::FuzzArgs),
    /// Draw the pictures of docs/images
    #[command(after_help = "Examples:\n  cargo xtask screenshots\n  \
        cargo xtask screenshots --all")]
    Screenshots(browser::ScreenshotArgs),
    /// Make the site: the documents as pages, and the kernel model to play with, for a browser
    #[command(after_help = "Examples:\n  cargo xtask site\n  \
        cargo xtask site --out public")]
    Site(site::SiteArgs),
    /// Write what real kernels' BTF says of the fields that overflow reads, as test data
    #[command(after_help = "Examples:\n  cargo xtask btf-excerpt 5.10.223-1 6.12\n  \
        cargo xtask btf-excerpt --arch arm64 6.12")]
    BtfExcerpt(btf::BtfExcerptArgs),
    /// Boot a kernel with a shell on this terminal; `overflow` is in its PATH
    #[command(after_help = "Examples:\n  cargo xtask vm 6.1\n  \
        cargo xtask vm 6.1 -- overflow doctor\n  cargo xtask vm 5.10 -- uname -r\n  \
        cargo xtask vm 6.12 --arch arm64 -- overflow doctor")]
    Vm {
        /// Series or exact Debian version, as in `cargo xtask run --vm`
        kernel: String,
        /// Architecture of the machine
        #[arg(long, value_name = "ARCH", default_value_t = Arch::HOST, value_enum)]
        arch: Arch,
        /// Run this instead of an interactive shell
        #[arg(last = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Verb::Setup => setup::build_tools().map(|()| ExitCode::SUCCESS),
        Verb::Run(args) => run::run(&args),
        Verb::Test(args) => test::test(&args),
        Verb::GroundTruth(args) => ground_truth::ground_truth(&args),
        Verb::Matrix(args) => matrix::matrix(&args),
        Verb::Bench(args) => bench::bench(&args),
        Verb::Screenshots(args) => browser::screenshots(&args),
        Verb::Site(args) => site::site(&args),
        Verb::Cases(args) => cases::cases(&args),
        Verb::Whatif(args) => whatif::whatif(&args),
        Verb::Storm(args) => storm::storm(&args),
        Verb::Soak(args) => soak::soak(&args),
        Verb::Fuzz(args) => fuzz::fuzz(&args),
        Verb::BtfExcerpt(args) => btf::btf_excerpt(&args),
        Verb::Vm { kernel, arch, command } => run::shell(&kernel, arch, &command),
    };
    result.unwrap_or_else(|e| {
        eprintln!("error: {e:#}");
        ExitCode::FAILURE
    })
}
