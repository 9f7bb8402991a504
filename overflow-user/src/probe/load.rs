//! Object + kernel facts -> attached programs.

use aya::{
    Btf as AyaBtf, Ebpf, EbpfLoader,
    maps::{HashMap, MapData, RingBuf},
};
use aya_log::EbpfLogger;
use overflow_common::Rung;

use super::{
    climb::Climber,
    error::ProbeError,
    ladder::{Moment, MomentStatus},
    ring::{Losses, RingReader, register},
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
        // aya-log's levels count down from error, 1: at 0 every log statement is dead code.
        let log_level = if config.debug { u8::MAX } else { 0 };
        loader.override_global("FILTER_PORT", &config.port, true);
        loader.override_global("FILTER_NETNS", &by_netns, true);
        loader.override_global("EMIT_ALL", &all, true);
        loader.override_global("AYA_LOG_LEVEL", &log_level, true);
        loader.map_max_entries("EVENTS", config.ring_bytes.next_power_of_two().max(4096));
        let ebpf = loader.load(OBJECT)?;

        let mut tracer = Self { ebpf, moments: Vec::new(), missing: kernel.facts.missing.clone() };
        for inum in &config.netns {
            tracer.add_netns(*inum)?;
        }
        // Without it kprobes still work: the fields then come from the file given with --btf.
        let btf = AyaBtf::from_sys_fs().ok();
        let mut climber = Climber::new(&mut tracer.ebpf, btf.as_ref(), kernel);
        let moments: Vec<_> = Moment::ALL.iter().map(|m| climber.climb(*m, config.rung)).collect();
        if moments.iter().all(|m| m.rung.is_none()) {
            let why = moments.first().and_then(|m| m.refused.first());
            let why = why.map(|(rung, why)| format!("{}: {why}", rung.as_str()));
            return Err(ProbeError::NothingAttaches(why.unwrap_or_default()));
        }
        tracer.moments = moments;
        Ok(tracer)
    }

    /// Traces one more network namespace, by inode number; only of use if the configuration named
    /// some.
    pub fn add_netns(&mut self, inum: u32) -> Result<(), ProbeError> {
        let mut netns: HashMap<_, u32, u8> = map(&mut self.ebpf, "NETNS")?;
        netns.insert(inum, 1, 0).map_err(|e| ProbeError::Load(e.to_string()))
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
        let taken = || ProbeError::Load("the ring was taken already".to_owned());
        let ring = self.ebpf.take_map("EVENTS").ok_or_else(taken)?;
        let ring: RingBuf<MapData> =
            ring.try_into().map_err(|e| ProbeError::Load(format!("EVENTS: {e}")))?;
        RingReader::new(ring).map_err(ProbeError::Ring)
    }

    /// Passes on what the eBPF programs log, through `log`, until the runtime ends. Call it once,
    /// from inside a runtime, if the configuration asked for debug lines.
    pub fn forward_logs(&mut self) -> Result<(), ProbeError> {
        let logger = EbpfLogger::init(&mut self.ebpf)
            .map_err(|e| ProbeError::Load(format!("the eBPF log cannot be read: {e}")))?;
        let mut logger = register(logger).map_err(ProbeError::Ring)?;
        tokio::spawn(async move {
            while let Ok(mut guard) = logger.readable_mut().await {
                guard.get_inner_mut().flush();
                guard.clear_ready();
            }
        });
        Ok(())
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
    let missing = || ProbeError::Load(format!("the eBPF object has no map {name}"));
    let map = ebpf.map_mut(name).ok_or_else(missing)?;
    T::try_from(map).map_err(|e| ProbeError::Load(format!("{name}: {e}")))
}

/// Kernels before 5.11 charge maps to RLIMIT_MEMLOCK.
fn raise_memlock() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    // A refusal shows itself later, as the error of loading a map.
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}
