//! A kernel without BTF of its own: `--btf FILE` stands in, and kprobes see everything.
//!
//! Every kernel that boots here has BTF; one hides it under an empty directory. That is all the
//! difference there is for overflow: trampolines and BTF tracepoints are looked up there.

use anyhow::{Context as _, Result};
use guest_init::plan::Job;

use overflow_core::hook_point::HookPoint;

use crate::{
    arch::Arch,
    exec, kernel_image, lines, matrix, progress,
    test::Checks,
    vm::{JobOutput, Options, Vm},
};

/// Where the guest keeps its BTF, to be given as a file.
const FILE: &str = "/run/kernel.btf";
/// A BTF that is cut off.
const CUT: &str = "/run/cut.btf";

/// The hook points that BTF tracepoints show elsewhere, and what does here.
const INSTEAD: [(HookPoint, &str); 2] = [
    (HookPoint::SynAckRetransmit, "kprobe:tcp_rtx_synack"),
    (HookPoint::PeerReset, "kprobe:tcp_reset"),
];

/// Hides the kernel's BTF in a VM, then asks doctor and runs every scenario.
pub fn check(kernel: &str, arch: Arch) -> Result<Checks> {
    let busybox = ("bin/busybox".to_owned(), kernel_image::busybox(arch)?);
    let options = Options {
        arch,
        label: Some("no-btf".into()),
        virtual_time: true,
        programs: vec![busybox],
        ..Options::default()
    };
    let vm = Vm::new(kernel, options)?;
    let own = "/sys/kernel/btf";
    let hide = format!(
        "busybox --install -s /bin && cp {own}/vmlinux {FILE} && head -c 5000 {FILE} >{CUT} && \
         mount -t tmpfs none {own}"
    );
    let overflow = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let centos7 = format!("overflow lab --btf {FILE} --scenario centos7");
    let argvs = [
        ["busybox", "sh", "-c", &hide].map(str::to_owned).to_vec(),
        overflow("overflow doctor"),
        overflow(&format!("overflow doctor --btf {CUT}")),
        overflow(&format!("overflow doctor --btf {FILE}")),
        overflow(&format!("overflow lab --output json --btf {FILE} --scenario all")),
        overflow(&format!("overflow lab --btf {FILE} --rung fentry --scenario centos7")),
        [overflow(&format!("overflow trace --output json --btf {FILE} --cmd")), vec![centos7]]
            .concat(),
    ];
    let jobs = argvs.map(|argv| Job { argv, ..Job::default() });
    progress::note(&format!("booting {}, its BTF hidden", vm.image().release));
    let outputs = vm.run(&jobs, &mut |_, _, _| false)?;
    let [hidden, without, cut, with, lab, fentry, trace] =
        outputs.try_into().ok().context("the VM did not run every command")?;
    let mut checks = Checks::default();
    checks.check(hidden.code == 0, || exec::complaint(&hidden.stderr));
    refused("doctor without BTF", &without, "shows no BTF at", &mut checks);
    refused("doctor with half a BTF", &cut, "cannot use the BTF in", &mut checks);
    doctor(&with, &mut checks);
    judge(&lab, &mut checks)?;
    refused("fentry with a file", &fentry, "shows no BTF of its own", &mut checks);
    overflows("trace --btf", &trace, &mut checks)?;
    Ok(checks)
}

/// A trace of overflows alone, by the smaller set of hooks, sees three third ACKs reset.
pub fn overflows(what: &str, output: &JobOutput, checks: &mut Checks) -> Result<()> {
    let lines: Vec<serde_json::Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).context("a line of the trace is not JSON"))
        .collect::<Result<_>>()?;
    let reset = |line: &&serde_json::Value| {
        line["type"] == "event" && line["id"] == "ack.reset.overflow" && line["known"] == "traced"
    };
    let resets = lines.iter().filter(reset).count();
    checks.check(output.code == 0 && resets == 3, || {
        format!("{what}: {resets} RSTs instead of 3; {}", exec::complaint(&output.stderr))
    });
    Ok(())
}

/// It must fail and say why.
fn refused(what: &str, output: &JobOutput, why: &str, checks: &mut Checks) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    checks.check(output.code == 1 && stderr.contains(why), || {
        format!("{what}: status {} and not {why:?} but: {stderr}", output.code)
    });
}

/// What attaches by kprobes, and what does not attach and why, must be shown.
fn doctor(output: &JobOutput, checks: &mut Checks) {
    let text = String::from_utf8_lossy(&output.stdout);
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in [
        format!("BTF {FILE}"),
        "third ACK kprobe kprobe:tcp_check_req".to_owned(),
        format!("{} kprobe {}", INSTEAD[0].0.as_str(), INSTEAD[0].1),
        format!("{} kprobe {}", INSTEAD[1].0.as_str(), INSTEAD[1].1),
        "this kernel shows no BTF of its own in".to_owned(),
    ] {
        checks.check(one_line.contains(&expected), || {
            let complaint = exec::complaint(&output.stderr);
            format!("doctor --btf does not say {expected:?}: {text}{complaint}")
        });
    }
}

/// Every scenario must come out as expected, traced by kprobes alone.
fn judge(output: &JobOutput, checks: &mut Checks) -> Result<()> {
    let lines = lines::read(&output.stdout)?;
    let scenarios: Vec<_> = lines::scenarios(&lines).collect();
    checks.check(!scenarios.is_empty(), || exec::complaint(&output.stderr));
    for line in scenarios {
        let name = &line.scenario;
        let Some(ended) = &line.ended else {
            checks.check(false, || format!("--btf, {name}: it is only listed"));
            continue;
        };
        match ended.unavailable.as_deref() {
            Some(why) if ended.holds.is_none() && matrix::may_be_unavailable(why) => {
                checks.skip(&format!("--btf, {name}"), why);
                continue;
            }
            _ => {}
        }
        checks.check(ended.holds == Some(true), || {
            let why = ended.unavailable.as_deref().into_iter();
            let why = why.chain(ended.differences.iter().map(String::as_str));
            format!("--btf, {name}: {}", why.collect::<Vec<_>>().join("; "))
        });
    }
    let hooks: Vec<_> = lines::hooks(&lines).filter_map(|hook| hook.hook.as_deref()).collect();
    let kprobe = |hook: &str| hook.starts_with("kprobe:") || hook.starts_with("kretprobe:");
    let other = hooks.iter().find(|hook| !kprobe(hook));
    checks.check(!hooks.is_empty() && other.is_none(), || {
        format!("--btf: not only kprobes: {other:?}")
    });
    Ok(())
}
