//! Climbs the ladders: attaches each hook point by the best rung that works, and keeps every refusal.

use std::{env::consts::ARCH, mem};

use aya::{
    Btf as AyaBtf, Ebpf,
    programs::{Program, ProgramError},
};
use overflow_common::Rung;

use super::{
    ahead::Attached,
    error::{NO_FUNCTION, ProbeError, kprobe_refusal, refusal, trampoline_refusal},
    ladder::{Attach, Hook, HookPointStatus, HookStatus, Scope, Step, is_common, ladder},
    withheld,
};
use overflow_core::hook_point::HookPoint;
use overflow_host::kernel::{Kernel, VMLINUX_BTF};

/// Why a program that was not built cannot be attached.
pub(super) const NOT_IN_OBJECT: &str = "not in the eBPF object";

/// A hook that two hook points share is attached once.
pub(crate) struct Climber<'a> {
    ebpf: &'a mut Ebpf,
    /// The running kernel's types, which trampolines and BTF tracepoints are checked against.
    btf: Option<&'a AyaBtf>,
    kernel: &'a Kernel,
    scope: Scope,
    /// What was attached ahead, or refused, and no step has asked for yet.
    ahead: Attached,
    done: Attached,
}

impl<'a> Climber<'a> {
    pub(crate) fn new(
        ebpf: &'a mut Ebpf,
        btf: Option<&'a AyaBtf>,
        kernel: &'a Kernel,
        scope: Scope,
        ahead: Attached,
    ) -> Self {
        Self { ebpf, btf, kernel, scope, ahead, done: Attached::new() }
    }

    /// Attaches `hook_point` by the best rung that works, or by `only` that one.
    pub(super) fn climb(&mut self, hook_point: HookPoint, only: Option<Rung>) -> HookPointStatus {
        let mut refused = Vec::new();
        let ladder = ladder(hook_point, self.scope);
        // Hooks of two rungs on the same hook point would report everything twice.
        let shared = ladder.iter().position(|step| self.has(step));
        for (i, step) in ladder.iter().enumerate() {
            if shared.is_some_and(|shared| i < shared) {
                refused.push((step.rung, "another hook point needs the hooks below".to_owned()));
                continue;
            }
            if let Some(why) = passed_over(step, ladder, (self.scope, only), self.kernel) {
                refused.push((step.rung, why));
                continue;
            }
            match self.step(step) {
                Ok(hooks) => {
                    let (rung, blind) = (Some(step.rung), step.blind);
                    return HookPointStatus { hook_point, rung, blind, hooks, refused };
                }
                Err(why) => refused.push((step.rung, why)),
            }
        }
        HookPointStatus { hook_point, rung: None, blind: "", hooks: Vec::new(), refused }
    }

    /// Whether a step's programs are attached already, for another hook point.
    fn has(&self, step: &Step) -> bool {
        let attached = |hook: &Hook| self.done.get(&(hook.program, hook.target)) == Some(&Ok(()));
        step.hooks.iter().all(|hook| hook.optional || attached(hook))
    }

    /// Attaches all programs of a step, or none of them.
    fn step(&mut self, step: &Step) -> Result<Vec<HookStatus>, String> {
        let mut statuses = Vec::new();
        let mut fresh = Vec::new();
        for hook in step.hooks {
            let mut result = self.once(hook, &mut fresh);
            let stand_ins = if result.is_err() { hook.stand_ins } else { &[] };
            let refused = result.clone().err();
            let replaced = !stand_ins.is_empty();
            statuses.push(HookStatus { name: hook.name(), refused, replaced });
            for stand_in in stand_ins {
                result = self.once(stand_in, &mut fresh);
                let (name, refused) = (stand_in.name(), result.clone().err());
                statuses.push(HookStatus { name, refused, replaced: false });
                if result.is_err() {
                    break;
                }
            }
            if let Err(why) = result
                && !hook.optional
            {
                for hook in fresh {
                    self.detach(hook.program);
                }
                return Err(format!("{}: {why}", hook.name()));
            }
        }
        Ok(statuses)
    }

    fn once(&mut self, hook: &Hook, fresh: &mut Vec<Hook>) -> Result<(), String> {
        let key = (hook.program, hook.target);
        if let Some(known) = self.done.get(&key) {
            return known.clone();
        }
        let result = match (self.ahead.remove(&key), self.ebpf.program_mut(hook.program)) {
            (Some(known), _) => known,
            (None, Some(program)) => attach(program, hook, self.btf, self.kernel),
            (None, None) => Err(NOT_IN_OBJECT.to_owned()),
        };
        self.done.insert(key, result.clone());
        if result.is_ok() {
            fresh.push(*hook);
        }
        result
    }

    /// Detaches what was attached ahead and no step has asked for.
    pub(super) fn finish(mut self) {
        for ((program, _), result) in mem::take(&mut self.ahead) {
            if result.is_ok() {
                self.detach(program);
            }
        }
    }

    fn detach(&mut self, program: &'static str) {
        self.done.retain(|(known, _), _| *known != program);
        // Unloading drops the program's links too.
        let _ = match self.ebpf.program_mut(program) {
            Some(Program::KProbe(p)) => p.unload(),
            Some(Program::FEntry(p)) => p.unload(),
            Some(Program::FExit(p)) => p.unload(),
            Some(Program::BtfTracePoint(p)) => p.unload(),
            _ => Ok(()),
        };
    }
}

/// Loads a program and attaches it; or why not.
pub(super) fn attach(
    program: &mut Program,
    hook: &Hook,
    btf: Option<&AyaBtf>,
    kernel: &Kernel,
) -> Result<(), String> {
    if let Some(why) = impossible(hook, kernel) {
        return Err(why);
    }
    let typed =
        || btf.ok_or_else(|| format!("this kernel shows no BTF of its own in {VMLINUX_BTF}"));
    let attached = match program {
        Program::KProbe(p) => {
            // One program can be on several functions.
            let loaded = if p.fd().is_ok() { Ok(()) } else { p.load() };
            loaded.and_then(|()| p.attach(hook.target, 0)).map(drop)
        }
        Program::FEntry(p) => p.load(hook.target, typed()?).and_then(|()| p.attach()).map(drop),
        Program::FExit(p) => p.load(hook.target, typed()?).and_then(|()| p.attach()).map(drop),
        Program::BtfTracePoint(p) => {
            p.load(hook.target, typed()?).and_then(|()| p.attach()).map(drop)
        }
        _ => Err(ProgramError::UnexpectedProgramType),
    };
    attached.map_err(|e| match hook.attach {
        Attach::Fentry | Attach::Fexit => trampoline_refusal(&e, ARCH),
        Attach::Kprobe | Attach::Kretprobe => kprobe_refusal(&e),
        Attach::TpBtf => refusal(&e),
    })
}

/// Why a hook need not be tried, if so.
fn impossible(hook: &Hook, kernel: &Kernel) -> Option<String> {
    if let Some(why) = withheld::hook(hook.attach) {
        return Some(why);
    }
    // A kprobe goes by the kernel's symbols: pahole leaves static functions out of some kernels' BTF.
    let by_type = matches!(hook.attach, Attach::Fentry | Attach::Fexit);
    (by_type && kernel.btf.function(hook.target).is_none()).then(|| NO_FUNCTION.to_owned())
}

/// Why a step of a ladder is not tried, if so; of all, or of `only` one rung.
fn passed_over(
    step: &Step,
    ladder: &[Step],
    (scope, only): (Scope, Option<Rung>),
    kernel: &Kernel,
) -> Option<String> {
    if only.is_some_and(|rung| rung != step.rung && !is_common(ladder)) {
        return Some("another rung was asked for".to_owned());
    }
    let takes_for_granted = match scope {
        Scope::Counts | Scope::Overflows => step.rung != Rung::Tracepoint,
        Scope::Everything => step.rung == Rung::Fentry,
    };
    let (_, field) = kernel.facts.unfit.first().filter(|_| takes_for_granted)?;
    Some(format!("this kernel's BTF has no {field} of the size that it reads"))
}

/// The step that a hook point will be traced by, unless the kernel refuses it; of this rung or a worse one.
pub(super) fn best(
    hook_point: HookPoint,
    from: Rung,
    (scope, only): (Scope, Option<Rung>),
    kernel: &Kernel,
) -> Option<&'static Step> {
    let ladder = ladder(hook_point, scope);
    let refused = |hook: &Hook| {
        !hook.optional && hook.stand_ins.is_empty() && impossible(hook, kernel).is_some()
    };
    ladder.iter().find(|step| {
        (step.rung >= from || is_common(ladder))
            && passed_over(step, ladder, (scope, only), kernel).is_none()
            && !step.hooks.iter().any(refused)
    })
}

/// A rung that was asked for is taken as a whole: where it has hooks for a hook point and they do not
/// attach, what is traced would not be what was asked for.
pub(super) fn refuse_half_a_rung(
    all: &[HookPointStatus],
    asked: Option<Rung>,
) -> Result<(), ProbeError> {
    let Some(asked) = asked else { return Ok(()) };
    let missing = all.iter().filter(|status| status.rung.is_none());
    let refusal = missing.flat_map(|status| {
        status.refused.iter().map(move |(rung, why)| (status.hook_point, rung, why))
    });
    match refusal.into_iter().find(|(_, rung, _)| **rung == asked) {
        Some((hook_point, rung, why)) => Err(ProbeError::RungRefused {
            rung: *rung,
            hook_point: hook_point.as_str(),
            why: why.clone(),
        }),
        None => Ok(()),
    }
}
