//! `cargo xtask btf-excerpt`: what real kernels' BTF says of the types that overflow asks for, small
//! enough to be kept with the tests, and what bpftool says of the same types.

mod excerpt;
mod expected;
mod image;
mod types;

use std::{fs, io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use flate2::{Compression, GzBuilder};
use overflow_core::kernel::{Btf, Facts};

use crate::{
    arch::Arch,
    kernel_image::KernelImage,
    progress,
    tools::{self, BPFTOOL},
    workspace,
};

/// Enums whose names are shown, and what all of their enumerators begin with: all that overflow asks
/// for besides overflow-common's rows.
const REASONS: &[(&str, &str)] =
    &[("skb_drop_reason", "SKB_DROP_REASON_"), ("sk_rst_reason", "SK_RST_REASON_")];

/// Arguments of `cargo xtask btf-excerpt`.
#[derive(Args)]
pub struct BtfExcerptArgs {
    /// Kernels, as in `cargo xtask run --vm`
    #[arg(required = true, value_name = "KERNEL")]
    kernels: Vec<String>,
    /// The architecture they are built for
    #[arg(long, value_name = "ARCH", default_value_t = Arch::HOST, value_enum)]
    arch: Arch,
}

/// Writes an excerpt and the expectations of each kernel to overflow-core's test data.
pub fn btf_excerpt(args: &BtfExcerptArgs) -> Result<ExitCode> {
    tools::ensure(&[BPFTOOL])?;
    let dir = workspace::root().join("crates/core/tests/data/btf");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for kernel in &args.kernels {
        let image = KernelImage::obtain(kernel, args.arch)?;
        one(&image, args.arch, &dir).with_context(|| format!("kernel {}", image.version))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn one(image: &KernelImage, arch: Arch, dir: &std::path::Path) -> Result<()> {
    let whole = image::btf(&image.vmlinuz()?)?;
    let excerpt = excerpt::of(&whole)?;
    same(&whole, &excerpt)?;

    let files = workspace::target().join("btf");
    fs::create_dir_all(&files).with_context(|| format!("cannot make {}", files.display()))?;
    let file = |ending: &str| files.join(format!("{}.{ending}", image.release));
    write(&file("btf"), &whole)?;
    write(&file("excerpt.btf"), &excerpt)?;
    // Another reader must take it for BTF as well.
    expected::is_btf(&file("excerpt.btf"))?;
    let expected = expected::of(&image.release, &file("btf"))?;

    // `6.12.118-arm64`: of Debian's version what upstream calls it; `-16k` where that is the size of pages.
    let upstream = image.version.split(['-', '~', '+']).next().unwrap_or(&image.version);
    let flavour =
        image.release.rfind(arch.debian()).map_or(arch.debian(), |at| &image.release[at..]);
    let name = format!("{upstream}-{flavour}");
    let (btf, json) = (dir.join(format!("{name}.btf.gz")), dir.join(format!("{name}.json")));
    write(&btf, &gzip(&excerpt)?)?;
    write(&json, (serde_json::to_string_pretty(&expected)? + "\n").as_bytes())?;
    let (small, large) = (excerpt.len(), whole.len());
    progress::note(&format!(
        "wrote {name}: {small} of {large} bytes of BTF, and what must come out"
    ));
    Ok(())
}

/// Whether overflow resolves the same by both.
fn same(whole: &[u8], excerpt: &[u8]) -> Result<()> {
    let facts = |btf: &[u8]| -> Result<Facts> {
        Facts::resolve(&Btf::parse(btf.to_vec())?).context("overflow cannot resolve its fields")
    };
    let (whole, excerpt) = (facts(whole)?, facts(excerpt)?);
    for (a, b) in whole.constants.iter().zip(&excerpt.constants) {
        ensure!(a == b, "{a:?} by the whole BTF is {b:?} by the excerpt");
    }
    ensure!(
        format!("{whole:?}") == format!("{excerpt:?}"),
        "overflow resolves other fields, counters or reasons by the excerpt than by the whole BTF"
    );
    Ok(())
}

/// Without a time, so that the same bytes are the same file.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(bytes)?;
    Ok(gzip.finish()?)
}

fn write(path: &PathBuf, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
