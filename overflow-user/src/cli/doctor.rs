//! `overflow doctor`: which hooks attach here, why the others do not, and what that means.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Result;
use clap::Args;

use super::{OutputFormat, narrow::Narrow, style};
use overflow::{
    confine,
    probe::{HookPointStatus, TraceConfig, Tracer},
};
use overflow_core::{
    hook_point::HookPoint,
    text::wrap::{Flow, WIDTH},
    wire,
};
use overflow_host::kernel::{Kernel, VMLINUX_BTF};

/// Show which hooks attach on this kernel, why others do not, and which verdicts are exact.
///
/// Attaches every hook briefly and detaches it again; nothing is traced.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  overflow doctor
  overflow doctor --output json
  overflow doctor --btf vmlinux.btf       a kernel without /sys/kernel/btf/vmlinux

Exit status: 0 done; 1 it could not run; 2 bad usage.")]
pub(super) struct DoctorArgs {
    /// BTF file of the running kernel, if /sys/kernel/btf/vmlinux does not exist
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
    /// Output format: text, or one JSON line
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

pub(super) fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    let kernel = Kernel::inspect(args.btf.as_deref())?;
    if args.output == OutputFormat::Json {
        let tracer = Tracer::attach(&kernel, &TraceConfig { all: true, ..TraceConfig::default() })?;
        json(&mut out, args, &kernel, &tracer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let width = style::options(out.is_terminal()).width;
    let mut out = Narrow::new(out, width);
    writeln!(out, "kernel   {}  {}", kernel.release, kernel.distro)?;
    writeln!(out, "BTF      {}", btf(args))?;
    if kernel.facts.missing.is_empty() {
        writeln!(out, "fields   every field the verdicts use was found")?;
    } else {
        writeln!(out, "fields   not on this kernel: {}", kernel.facts.missing.join(", "))?;
    }
    let tracer = Tracer::attach(&kernel, &TraceConfig { all: true, ..TraceConfig::default() })?;
    writeln!(out)?;
    for status in tracer.hook_points() {
        hook_point(&mut out, status)?;
    }
    writeln!(out)?;
    rights(&mut out, &tracer)?;
    writeln!(out)?;
    writeln!(out, "{}", summary(tracer.hook_points()))?;
    Ok(ExitCode::SUCCESS)
}

fn json(out: &mut impl Write, args: &DoctorArgs, kernel: &Kernel, tracer: &Tracer) -> Result<()> {
    let maps: &(dyn Fn() -> bool + Sync) = &|| tracer.readable();
    let confined = confine::rehearse(&confine::Needs { maps: Some(maps), ..Default::default() });
    let (confinement, gaps) = match confined {
        Ok(confinement) => (Some(confinement.in_words().into()), confinement.gaps()),
        Err(error) => (None, vec![error.to_string()]),
    };
    let missing = confine::names(!confine::effective()?);
    let line = wire::Line::Doctor(wire::Doctor {
        v: wire::VERSION,
        tool: wire::TOOL.into(),
        kernel: kernel.release.as_str().into(),
        distro: kernel.distro.as_str().into(),
        btf: btf(args).into(),
        missing_fields: kernel.facts.missing.iter().map(|name| name.as_str().into()).collect(),
        hook_points: tracer.hook_points().iter().map(wire_hook_point).collect(),
        missing_capabilities: missing.into_iter().map(Into::into).collect(),
        confinement,
        gaps: gaps.into_iter().map(Into::into).collect(),
    });
    Ok(wire::line(out, &line)?)
}

fn wire_hook_point(status: &HookPointStatus) -> wire::HookPoint<'_> {
    let attached = status.hooks.iter().filter(|hook| hook.refused.is_none());
    let refused = status.hooks.iter().filter_map(|hook| Some((hook, hook.refused.as_ref()?)));
    wire::HookPoint {
        moment: status.hook_point.as_str().into(),
        rung: status.rung.map(|rung| rung.as_str().into()),
        attached: attached.map(|hook| hook.name.as_str().into()).collect(),
        refused_hooks: refused
            .map(|(hook, why)| (hook.name.as_str().into(), why.as_str().into()))
            .collect(),
        refused_rungs: status
            .refused
            .iter()
            .map(|(rung, why)| (rung.as_str().into(), why.as_str().into()))
            .collect(),
        blind: status.blind.into(),
    }
}

/// Where the kernel's types are read.
fn btf(args: &DoctorArgs) -> String {
    args.btf.as_ref().map_or(VMLINUX_BTF.into(), |p| p.display().to_string())
}

/// What this process may do now, and what a tracing one may do once it has attached.
fn rights(out: &mut impl Write, tracer: &Tracer) -> Result<()> {
    let missing = confine::names(!confine::effective()?);
    if missing.is_empty() {
        writeln!(out, "rights   has every capability it can use")?;
    } else {
        writeln!(out, "rights   not held: {}", missing.join(", "))?;
    }
    let maps: &(dyn Fn() -> bool + Sync) = &|| tracer.readable();
    match confine::rehearse(&confine::Needs { maps: Some(maps), ..Default::default() }) {
        Ok(confinement) => {
            writeln!(out, "confine  once attached: {}", confinement.in_words())?;
            for gap in confinement.gaps() {
                wrap(out, 9, &gap)?;
            }
        }
        Err(error) => writeln!(out, "confine  not possible here: {error}")?,
    }
    match confine::rehearse_sender() {
        Ok(confinement) => {
            writeln!(out, "export   by a process with {}", confinement.in_words())?;
            for gap in confinement.sender_gaps() {
                wrap(out, 9, &gap)?;
            }
        }
        Err(error) => writeln!(out, "export   not possible here: {error}")?,
    }
    Ok(())
}

fn hook_point(out: &mut impl Write, status: &HookPointStatus) -> io::Result<()> {
    let rung = status.rung.map_or("unavailable", |r| r.as_str());
    writeln!(out, "{:<24}{rung}", status.hook_point.as_str())?;
    let attached: Vec<_> =
        status.hooks.iter().filter(|h| h.refused.is_none()).map(|h| h.name.as_str()).collect();
    wrap(out, 4, &attached.join("  "))?;
    for hook in &status.hooks {
        if let Some(why) = &hook.refused {
            let instead = if hook.replaced { "; a kretprobe is used instead" } else { "" };
            wrap(out, 4, &format!("not {}: {why}{instead}", hook.name))?;
        }
    }
    if !status.blind.is_empty() {
        wrap(out, 4, &format!("cannot see {}", status.blind))?;
    }
    for (rung, why) in &status.refused {
        wrap(out, 4, &format!("not by {}: {why}", rung.as_str()))?;
    }
    Ok(())
}

fn summary(all: &[HookPointStatus]) -> String {
    let handshake = [HookPoint::Syn, HookPoint::ThirdAck, HookPoint::Reset];
    let of_handshake = || all.iter().filter(|status| handshake.contains(&status.hook_point));
    let exact = of_handshake().count() == handshake.len()
        && of_handshake().all(|status| status.rung.is_some() && status.blind.is_empty());
    let mut text = if exact {
        "Every syn.* and ack.* verdict is traced: the kernel's branch itself is observed."
            .to_owned()
    } else {
        "Verdicts marked \"inferred\" are inferred from what happens around the functions; \
         \"traced\" still means that the branch itself was observed."
            .to_owned()
    };
    // A kernel without IPv6 has none of them.
    let hooks = of_handshake().flat_map(|status| &status.hooks);
    let of_v6 = |name: &str| name.contains(":tcp_v6_") || name.contains(":cookie_v6_");
    let v6 = hooks.filter(|hook| of_v6(&hook.name) && !hook.replaced);
    let (seen, unseen): (Vec<_>, Vec<_>) = v6.partition(|hook| hook.refused.is_none());
    if !unseen.is_empty() && !seen.is_empty() {
        let names: Vec<_> = unseen.iter().map(|hook| hook.name.as_str()).collect();
        text = format!("{text}\nNot so for IPv6, which lacks: {}.", names.join(", "));
    }
    let missing = all.iter().filter(|status| status.rung.is_none());
    let missing: Vec<_> = missing.map(|status| status.hook_point.as_str()).collect();
    if !missing.is_empty() {
        text = format!("{text}\nNot observable here: {}.", missing.join(", "));
    }
    text
}

/// Words at `indent`, broken at 80 columns.
fn wrap(out: &mut impl Write, indent: usize, text: &str) -> io::Result<()> {
    let margin = " ".repeat(indent);
    let flow = Flow { first: &margin, rest: &margin, ..Flow::new(WIDTH) };
    flow.lines(text).iter().try_for_each(|line| writeln!(out, "{line}"))
}

#[cfg(test)]
mod tests {
    use overflow::probe::HookStatus;
    use overflow_common::Rung;

    use super::*;

    fn status(hook_point: HookPoint, rung: Rung, hooks: &[(&str, bool)]) -> HookPointStatus {
        let hook = |(name, attached): &(&str, bool)| HookStatus {
            name: (*name).to_owned(),
            refused: (!attached).then(|| "no such function".to_owned()),
            replaced: false,
        };
        HookPointStatus {
            hook_point,
            rung: Some(rung),
            blind: if rung == Rung::Tracepoint { "the branch" } else { "" },
            hooks: hooks.iter().map(hook).collect(),
            refused: Vec::new(),
        }
    }

    fn kprobes(reset: &[(&str, bool)]) -> String {
        summary(&[
            status(
                HookPoint::Syn,
                Rung::Kprobe,
                // MPTCP's is no loss where there is no MPTCP.
                &[("kprobe:tcp_v6_conn_request", true), ("kprobe:subflow_v6_conn_request", false)],
            ),
            status(HookPoint::ThirdAck, Rung::Kprobe, &[]),
            status(HookPoint::Reset, Rung::Kprobe, reset),
        ])
    }

    #[test]
    fn what_is_traced_is_no_more_than_what_is_attached() {
        let every = "Every syn.* and ack.* verdict is traced";
        let whole = kprobes(&[("kprobe:tcp_v6_send_reset", true)]);
        assert!(whole.starts_with(every) && !whole.contains("IPv6"), "{whole}");
        let unseen = kprobes(&[("kprobe:tcp_v6_send_reset", false)]);
        assert!(unseen.ends_with("IPv6, which lacks: kprobe:tcp_v6_send_reset."), "{unseen}");
        let of_four = status(HookPoint::Syn, Rung::Tracepoint, &[]);
        assert!(summary(&[of_four]).starts_with("Verdicts marked"));
    }
}
