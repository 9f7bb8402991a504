//! Object + kernel facts -> attached programs.

use std::collections::BTreeMap;

use aya::{
    Btf as AyaBtf, Ebpf, EbpfLoader,
    maps::{HashMap, MapData, RingBuf},
    programs::{Program, ProgramError},
};
use overflow_common::Rung;

use super::{
    error::{ProbeError, refusal},
    ladder::{Attach, Hook, HookStatus, Moment, MomentStatus, Step},
    ring::{Losses, RingReader},
};
use crate::kernel::{Constant, Kernel};

/// The eBPF object; empty if the build was told to do without it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/overflow"));

/// What to trace, and how.
#[derive(Clone, Debug)]
pub struct TraceConfig {
    /// Only this local port; 0 for every port.
    pub port: u16,
    /// Only these network namespaces, by inode number; empty for all.
    pub netns: Vec<u32>,
    /// Healthy moments too.
    pub all: bool,
    /// Only this rung, or the best one that attaches.
    pub rung: Option<Rung>,
    /// Bytes of the ring; rounded up to a power of two of pages by the kernel's rule.
    pub ring_bytes: u32,
    /// Debug lines from the eBPF programs through `log`.
    pub debug: bool,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self {
            port: 0,
            netns: Vec::new(),
            all: false,
            rung: None,
            ring_bytes: 1 << 20,
            debug: false,
        }
    }
}

/// Attached programs. Dropping it detaches everything; so does the process's end, however it ends.
pub struct Tracer {
    ebpf: Ebpf,
    moments: Vec<MomentStatus>,
    missing: Vec<String>,
}

impl Tracer {
    /// Loads the object for this kernel and attaches every moment by the best rung that works.
    pub fn attach(kernel: &Kernel, config: &TraceConfig) -> Result<Self, ProbeError> {
        if OBJECT.is_empty() {
            return Err(ProbeError::NoObject);
        }
        raise_memlock();
        let mut loader = EbpfLoader::new();
        for (name, constant) in &kernel.facts.constants {
            match constant {
                Constant::Field(field) => loader.override_global(name, field, true),
                Constant::Slot(slot) => loader.override_global(name, slot, true),
                Constant::Value(value) => loader.override_global(name, value, true),
            };
        }
        let (by_netns, all) = (u8::from(!config.netns.is_empty()), u8::from(config.all));
        let log_level = if config.debug { u8::MAX } else { 0 };
        loader.override_global("FILTER_PORT", &config.port, true);
        loader.override_global("FILTER_NETNS", &by_netns, true);
        loader.override_global("EMIT_ALL", &all, true);
        loader.override_global("AYA_LOG_LEVEL", &log_level, false);
        loader.map_max_entries("EVENTS", config.ring_bytes.next_power_of_two().max(4096));
        let mut ebpf = loader.load(OBJECT)?;

        let mut netns: HashMap<_, u32, u8> = map(&mut ebpf, "NETNS")?;
        for inum in &config.netns {
            netns.insert(inum, 1, 0).map_err(|e| ProbeError::Load(e.to_string()))?;
        }

        let btf = AyaBtf::from_sys_fs()
            .map_err(|e| ProbeError::Load(format!("the kernel's BTF cannot be read: {e}")))?;
        let mut climber = Climber { ebpf: &mut ebpf, btf: &btf, kernel, done: BTreeMap::new() };
        let moments: Vec<_> = Moment::ALL.iter().map(|m| climber.climb(*m, config.rung)).collect();
        if moments.iter().all(|m| m.rung.is_none()) {
            let why = moments.first().and_then(|m| m.refused.first());
            let why = why.map(|(rung, why)| format!("{}: {why}", rung.as_str()));
            return Err(ProbeError::NothingAttaches(why.unwrap_or_default()));
        }
        Ok(Self { ebpf, moments, missing: kernel.facts.missing.clone() })
    }

    /// By which rung each moment is traced, and why not by a better one.
    pub fn moments(&self) -> &[MomentStatus] {
        &self.moments
    }

    /// Kernel fields that this kernel lacks: values that no record will have.
    pub fn missing_fields(&self) -> &[String] {
        &self.missing
    }

    /// Takes the ring; can be called once.
    pub fn ring(&mut self) -> Result<RingReader, ProbeError> {
        let ring = self.ebpf.take_map("EVENTS").expect("the object has a ring");
        let ring: RingBuf<MapData> =
            ring.try_into().map_err(|e| ProbeError::Load(format!("EVENTS: {e}")))?;
        RingReader::new(ring).map_err(ProbeError::Ring)
    }

    /// What the eBPF side could not report so far.
    pub fn losses(&self) -> Losses {
        Losses::read(&self.ebpf)
    }
}

fn map<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<T, ProbeError>
where
    T: TryFrom<&'a mut aya::maps::Map>,
    T::Error: std::fmt::Display,
{
    let map = ebpf.map_mut(name).expect("the object has every map it was built with");
    T::try_from(map).map_err(|e| ProbeError::Load(format!("{name}: {e}")))
}

/// Kernels before 5.11 charge maps to RLIMIT_MEMLOCK.
fn raise_memlock() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    // A refusal shows itself later, as the error of loading a map.
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}

/// Climbs the ladders; a program that two moments share is attached once.
struct Climber<'a> {
    ebpf: &'a mut Ebpf,
    btf: &'a AyaBtf,
    kernel: &'a Kernel,
    done: BTreeMap<&'static str, Result<(), String>>,
}

impl Climber<'_> {
    fn climb(&mut self, moment: Moment, only: Option<Rung>) -> MomentStatus {
        let mut refused = Vec::new();
        for step in moment.ladder() {
            // What only tracepoints can show is traced by them whichever rung is asked for.
            let sole = moment.ladder().len() == 1 && step.rung == Rung::Tracepoint;
            if only.is_some_and(|rung| rung != step.rung && !sole) {
                refused.push((step.rung, "another rung was asked for".to_owned()));
                continue;
            }
            match self.step(step) {
                Ok(hooks) => {
                    let (rung, blind) = (Some(step.rung), step.blind);
                    return MomentStatus { moment, rung, blind, hooks, refused };
                }
                Err(why) => refused.push((step.rung, why)),
            }
        }
        MomentStatus { moment, rung: None, blind: "", hooks: Vec::new(), refused }
    }

    /// Attaches all programs of a step, or none of them.
    fn step(&mut self, step: &Step) -> Result<Vec<HookStatus>, String> {
        let mut statuses = Vec::new();
        let mut fresh = Vec::new();
        for hook in step.hooks {
            let known = self.done.get(hook.program).cloned();
            let result = known.unwrap_or_else(|| {
                let result = self.attach(hook);
                self.done.insert(hook.program, result.clone());
                if result.is_ok() {
                    fresh.push(hook.program);
                }
                result
            });
            if let Err(why) = &result
                && !hook.optional
            {
                for program in fresh {
                    self.detach(program);
                }
                return Err(format!("{}: {why}", hook.name()));
            }
            statuses.push(HookStatus { name: hook.name(), refused: result.err() });
        }
        Ok(statuses)
    }

    fn attach(&mut self, hook: &Hook) -> Result<(), String> {
        if hook.attach != Attach::TpBtf && !self.kernel.btf.has_function(hook.target) {
            return Err("this kernel has no such function, or has it inlined".to_owned());
        }
        let program = self.ebpf.program_mut(hook.program).ok_or("not in the eBPF object")?;
        let mut attach = || -> Result<(), ProgramError> {
            match program {
                Program::FEntry(p) => {
                    p.load(hook.target, self.btf)?;
                    p.attach()?;
                }
                Program::FExit(p) => {
                    p.load(hook.target, self.btf)?;
                    p.attach()?;
                }
                Program::BtfTracePoint(p) => {
                    p.load(hook.target, self.btf)?;
                    p.attach()?;
                }
                _ => return Err(ProgramError::UnexpectedProgramType),
            }
            Ok(())
        };
        attach().map_err(|e| refusal(&e))
    }

    fn detach(&mut self, program: &'static str) {
        self.done.remove(program);
        // Unloading drops the program's links too.
        let _ = match self.ebpf.program_mut(program) {
            Some(Program::FEntry(p)) => p.unload(),
            Some(Program::FExit(p)) => p.unload(),
            Some(Program::BtfTracePoint(p)) => p.unload(),
            _ => Ok(()),
        };
    }
}
