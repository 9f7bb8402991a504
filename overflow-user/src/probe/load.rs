//! Object + kernel facts -> attached programs.

use std::{collections::BTreeSet, fs::File, net::IpAddr};

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapError, PerCpuArray},
};
use aya_log::EbpfLogger;
use overflow_common::{
    Counted, CountersRead, CpuCounters, LeftOutKey, Opener, Phase, Rung, SetAside,
};

use super::{
    ahead,
    climb::{Climber, best, refuse_half_a_rung},
    counters,
    counts::Counts,
    error::{LoadError, ProbeError},
    existing,
    ladder::{Hook, HookPointStatus, Scope, Step, ladder},
    loader, object,
    survey::Survey,
    targets,
    transport::{Losses, RecordReader, Transport, infos, register},
    withheld::Feature,
};
use overflow_core::{
    audit::Watched,
    hook_point::HookPoint,
    kernel::{Constant, NeededBy},
};
use overflow_host::{in_initial_pid_namespace, kernel::Kernel};

/// The eBPF objects, by how records leave them; empty if the build was told to do without.
pub(super) static BY_RING: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/overflow-ring"));
static BY_QUEUE: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/overflow-queue"));

/// What to trace, and how.
#[derive(Clone, Debug)]
pub struct TraceConfig {
    /// Only these local ports; empty for all.
    pub ports: Vec<u16>,
    /// Only connections to these local addresses; empty for all.
    pub addresses: Vec<IpAddr>,
    /// Only IP of this version, 4 or 6.
    pub family: Option<u8>,
    /// Only these network namespaces, by inode number; empty for all.
    pub netns: Vec<u32>,
    /// Leave out the listeners that [`Tracer::set_excluded`] names.
    pub excluded: bool,
    /// Healthy events too: every handshake passes all hooks, and reports.
    pub all: bool,
    /// Count events and queues in the kernel too, see [`Tracer::aggregates`].
    pub aggregate: bool,
    /// Report no healthy events: they are only counted.
    pub quiet: bool,
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
            ports: Vec::new(),
            addresses: Vec::new(),
            family: None,
            netns: Vec::new(),
            excluded: false,
            all: false,
            aggregate: false,
            quiet: false,
            rung: None,
            ring_bytes: 1 << 20,
            debug: false,
        }
    }
}

/// The map of what is seen and left out.
const LEFT_OUT: &str = "AUDIT";

/// Attached programs. Dropping it detaches everything; so does the process's end, however it ends.
pub struct Tracer {
    pub(super) ebpf: Ebpf,
    transport: Transport,
    hook_points: Vec<HookPointStatus>,
    /// What the eBPF side counts, if it does.
    pub(super) counts: Option<Counts>,
    watched: Watched,
    survey: Option<Survey>,
    infos: Vec<File>,
    notes: Vec<String>,
    /// Whether pids of the kernel's are pids here.
    kernels_pids: bool,
}

impl Tracer {
    /// Loads the object for this kernel and attaches every hook point by the best rung that works.
    pub fn attach(kernel: &Kernel, config: &TraceConfig) -> Result<Self, ProbeError> {
        if BY_RING.is_empty() {
            return Err(ProbeError::NoObject);
        }
        // Without what only some hooks need, those are of no use.
        if let Some((_, field)) = kernel.facts.unfit.iter().find(|(by, _)| *by == NeededBy::All) {
            return Err(ProbeError::Unfit(field.clone()));
        }
        raise_memlock();
        let transport = Transport::best().ok_or(ProbeError::TooOld(
            "neither ring buffers for eBPF programs, which Linux has since 5.8, nor queues, which it \
             has since 4.20",
        ))?;
        let object = match transport {
            Transport::Ring => BY_RING,
            Transport::Queue => BY_QUEUE,
        };
        let scope = match (config.all, bare(config)) {
            (true, true) => Scope::Counts,
            (true, false) => Scope::Everything,
            (false, _) => Scope::Overflows,
        };
        let in_scope: Vec<_> =
            HookPoint::ALL.iter().filter(|h| !ladder(**h, scope).is_empty()).copied().collect();
        // Without it kprobes still work: the fields then come from the file given with --btf.
        let hooks = in_scope.iter().flat_map(|h| ladder(*h, scope)).flat_map(|step| step.hooks);
        let own = (!Feature::Btf.is_withheld()).then(|| kernel.own_btf()).flatten();
        let btf = own.and_then(|own| targets::of(&own, hooks, existing::ITERATED));
        let climb = |ebpf: &mut Ebpf, ahead| -> Vec<HookPointStatus> {
            let mut climber = Climber::new(ebpf, btf.as_ref(), kernel, scope, ahead);
            let hook_points = in_scope.iter().map(|h| climber.climb(*h, config.rung)).collect();
            climber.finish();
            hook_points
        };
        let best = |from: Rung| -> Vec<Option<&Step>> {
            in_scope.iter().map(|h| best(*h, from, (scope, config.rung), kernel)).collect()
        };
        // Nearly always each hook point is traced by its best rung, and no other programs are needed.
        let steps = best(Rung::Fentry);
        let hooks = once_each(&steps);
        let mut ebpf = load(kernel, config, transport, &object::with(object, &hooks))?;
        let attached = ahead::attach(&mut ebpf, btf.as_ref(), kernel, &hooks);
        let hook_points = attached.map(|ahead| climb(&mut ebpf, ahead));
        let as_planned = |hook_points: &Vec<HookPointStatus>| {
            let planned = steps.iter().map(|step| step.map(|step| step.rung));
            hook_points.iter().map(|h| h.rung).eq(planned)
        };
        let hook_points = if let Some(hook_points) = hook_points.filter(as_planned) {
            hook_points
        } else {
            drop(ebpf);
            ebpf = load(kernel, config, transport, object)?;
            // Where there are no kprobes either, tracepoints are left.
            let mut ahead = |hooks: &[Hook]| ahead::attach(&mut ebpf, btf.as_ref(), kernel, hooks);
            let kprobes = once_each(&best(Rung::Kprobe));
            let attached = ahead(&kprobes[..kprobes.len().min(1)])
                .or_else(|| ahead(&once_each(&best(Rung::Tracepoint))));
            climb(&mut ebpf, attached.unwrap_or_default())
        };
        if hook_points.iter().all(|h| h.rung.is_none()) {
            let why = hook_points.first().and_then(|h| h.refused.first());
            let why = why.map(|(rung, why)| format!("{}: {why}", rung.as_str()));
            return Err(ProbeError::NothingAttaches(why.unwrap_or_default()));
        }
        refuse_half_a_rung(&hook_points, config.rung)?;
        let counts = config.aggregate.then(Counts::default);
        let mut tracer = Self {
            ebpf,
            transport,
            hook_points,
            counts,
            watched: Watched { everything: config.all, ..Watched::default() },
            survey: None,
            infos: Vec::new(),
            notes: Vec::new(),
            kernels_pids: in_initial_pid_namespace(),
        };
        let mut older_listeners = true;
        let by_tracepoints = |h: &HookPointStatus| {
            h.hook_point == HookPoint::Syn && h.rung == Some(Rung::Tracepoint)
        };
        if tracer.hook_points.iter().any(by_tracepoints) {
            let wanted = config.netns.iter().copied().collect();
            let unknown = existing::learn(&mut tracer.ebpf, btf.as_ref(), &wanted);
            older_listeners = unknown.is_empty();
            tracer.notes.extend(unknown);
        }
        let surveyed = Survey::begin(&mut tracer.ebpf);
        tracer.watched = watches(config);
        tracer.watched.older_listeners = older_listeners;
        // What was counted before cannot be told from what no hook saw.
        tracer.watched.counts_left_out &= surveyed.is_ok();
        match surveyed {
            Ok(survey) => tracer.survey = Some(survey),
            Err(why) => tracer.notes.push(format!(
                "what the kernel had counted before is not known ({why}): the first drop in a \
                 namespace on a CPU is told from its queue's length, or not at all"
            )),
        }
        if !tracer.kernels_pids {
            tracer.notes.push(
                "this process is in a pid namespace of its own (start it in the host's to see more): \
                 a listener that is closed before anybody looks has no owner here"
                    .to_owned(),
            );
        }
        tracer.infos = infos(&tracer.ebpf);
        Ok(tracer)
    }

    /// What this trace cannot know, as sentences.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// From now on what the hooks see is judged and reported. Until then a trace is silent.
    pub fn arm(&mut self) -> Result<(), ProbeError> {
        self.set_phase(Phase::Judging)
    }

    /// What the hooks see from now on is not reported any more, and they read no counters: they can go
    /// one by one.
    pub fn disarm(&mut self) -> Result<(), ProbeError> {
        self.set_phase(Phase::Over)
    }

    fn set_phase(&mut self, phase: Phase) -> Result<(), ProbeError> {
        let mut word: Array<_, u64> = map(&mut self.ebpf, ".data.armed")?;
        word.set(0, phase as u64, 0).map_err(LoadError::Write)?;
        Ok(())
    }

    /// Traces one more network namespace, by inode number; only of use if the configuration named
    /// some.
    pub fn add_netns(&mut self, inum: u32) -> Result<(), ProbeError> {
        add_netns(&mut self.ebpf, inum)
    }

    /// Leaves out these listeners, (inode number of the namespace, of the socket), and no others; only of use if the configuration said so. Those that find no room stay in.
    pub(crate) fn set_excluded(
        &mut self,
        excluded: &BTreeSet<(u32, u32)>,
    ) -> Result<(), ProbeError> {
        let mut map: HashMap<_, [u32; 2], u8> = map(&mut self.ebpf, "EXCLUDED")?;
        let known: Vec<[u32; 2]> = map.keys().filter_map(Result::ok).collect();
        for [netns, ino] in known {
            if !excluded.contains(&(netns, ino)) {
                let _ = map.remove(&[netns, ino]);
            }
        }
        for &(netns, ino) in excluded {
            let _ = map.insert([netns, ino], 1, 0);
        }
        Ok(())
    }

    /// Who called `listen()` on this socket, (inode number of the network namespace, of the socket);
    /// `None` if that was before the trace, or long ago, or if pids mean something else here than in
    /// the kernel.
    pub(crate) fn opener(
        &mut self,
        (netns, ino): (u32, u32),
    ) -> Result<Option<Opener>, ProbeError> {
        if !self.kernels_pids {
            return Ok(None);
        }
        let openers: HashMap<_, [u32; 2], Opener> = map(&mut self.ebpf, "OPENERS")?;
        match openers.get(&[netns, ino], 0) {
            Ok(opener) => Ok(Some(opener)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(LoadError::Write(error).into()),
        }
    }

    /// What the eBPF side saw and left out so far: (inode number of the network namespace, number of
    /// the [`overflow_common::LeftOut`], how many).
    pub(crate) fn left_out(&mut self) -> Result<Vec<(u32, u32, u64)>, ProbeError> {
        if !self.watched.counts_left_out {
            return Ok(Vec::new());
        }
        let counts: HashMap<_, LeftOutKey, u64> = map(&mut self.ebpf, LEFT_OUT)?;
        let counts = counts.iter().filter_map(Result::ok);
        Ok(counts.map(|(key, count)| (key.netns, key.what, count)).collect())
    }

    /// What the hooks have read of the counters so far, by inode number of the network namespace.
    pub(crate) fn read(&mut self) -> Result<Vec<(u32, CountersRead)>, ProbeError> {
        let aside: HashMap<_, SetAside, Counted> = map(&mut self.ebpf, "ASIDE")?;
        let aside: Vec<Counted> = aside.iter().filter_map(Result::ok).map(|(_, c)| c).collect();
        let counters: PerCpuArray<_, CpuCounters> = map(&mut self.ebpf, "COUNTERS")?;
        let cpus = counters.get(&0, 0).map_err(LoadError::Write)?;
        let there = cpus.iter().flat_map(|cpu| cpu.counted);
        Ok(counters::read(there.chain(aside)))
    }

    /// What the kernel counted and no hook has read yet, likewise; `None` where it cannot be found out.
    pub(crate) fn pending(&mut self) -> Option<Vec<(u32, CountersRead)>> {
        let found = self.survey.as_ref()?.pending(&mut self.ebpf);
        found.inspect_err(|why| log::warn!("cannot survey the counters of all CPUs: {why}")).ok()
    }

    /// How much of what the kernel counts this can tell.
    pub fn watched(&self) -> Watched {
        self.watched
    }

    /// Nobody who was refused can recover any more: third ACKs that are taken need not be looked at,
    /// until somebody is refused again.
    pub(crate) fn clear_retry_pending(&mut self) -> Result<(), ProbeError> {
        // Two words, and a byte for each bucket of clients.
        const BYTES: usize = 16 + (1 << 16);
        const NOBODY: &[u8; BYTES] = &[0; BYTES];
        let mut pending: Array<_, [u8; BYTES]> = map(&mut self.ebpf, ".data.retry_pending")?;
        pending.set(0, NOBODY, 0).map_err(LoadError::Write)?;
        Ok(())
    }

    /// By which rung each hook point is traced, and why not by a better one.
    pub fn hook_points(&self) -> &[HookPointStatus] {
        &self.hook_points
    }

    /// The reader of the records, whatever brings them here; can be called once.
    pub fn records(&mut self) -> Result<RecordReader, ProbeError> {
        RecordReader::new(self.ebpf.take_map("EVENTS").ok_or(LoadError::RingTaken)?)
    }

    /// Passes on what the eBPF programs log, through `log`, until the runtime ends. Call it once,
    /// from inside a runtime, if the configuration asked for debug lines.
    pub fn forward_logs(&mut self) -> Result<(), ProbeError> {
        if self.transport != Transport::Ring {
            self.notes.push(
                "the eBPF programs cannot log here: that takes ring buffers, Linux 5.8".to_owned(),
            );
            return Ok(());
        }
        let logger = EbpfLogger::init(&mut self.ebpf).map_err(LoadError::Logs)?;
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
        Losses::read(&self.ebpf, &self.infos)
    }

    /// Whether the maps can be read, with the rights that the calling thread has now.
    pub fn readable(&self) -> bool {
        self.losses().known()
    }
}

/// The object in the kernel, with what this kernel and `config` make constant; nothing is attached.
fn load(
    kernel: &Kernel,
    config: &TraceConfig,
    transport: Transport,
    object: &[u8],
) -> Result<Ebpf, ProbeError> {
    let mut loader = loader::new();
    for (name, constant) in &kernel.facts.constants {
        match constant {
            Constant::Field(field) => loader.override_global(name, field, true),
            Constant::Slot(slot) => loader.override_global(name, slot, true),
            Constant::Value(value) => loader.override_global(name, value, true),
        };
    }
    let flags = [
        ("FILTER_PORT", !config.ports.is_empty()),
        ("FILTER_ADDRESS", !config.addresses.is_empty()),
        ("FILTER_NETNS", !config.netns.is_empty()),
        ("FILTER_EXCLUDED", config.excluded),
        ("EMIT_ALL", config.all),
        ("AGGREGATE", config.aggregate),
        ("QUIET", config.quiet),
        ("BARE", bare(config)),
    ]
    .map(|(name, set)| (name, u8::from(set)));
    for (name, flag) in &flags {
        loader.override_global(name, flag, true);
    }
    let family = config.family.unwrap_or(0);
    // aya-log's levels count down from error, 1: at 0 every log statement is dead code.
    let log_level = if config.debug { u8::MAX } else { 0 };
    loader.override_global("FILTER_FAMILY", &family, true);
    // The log leaves by a ring of its own.
    let logs = transport == Transport::Ring;
    loader.override_global("AYA_LOG_LEVEL", &log_level, logs);
    // The kernel clears at once whatever a map could hold.
    if !config.aggregate {
        for counting in
            ["COUNTS", "TALLIES", "CHILDREN", "DOORS", "QUEUES", "OWNERS", "HEALTHY", "WAITING"]
        {
            loader.map_max_entries(counting, 1);
        }
    }
    if !config.all {
        loader.map_max_entries("ACCEPTING", 1);
    }
    if config.rung.is_some_and(|rung| rung != Rung::Tracepoint) {
        for learnt in ["PORTS_IN_USE", "PLACES", "MEMBERS", "LISTENERS"] {
            loader.map_max_entries(learnt, 1);
        }
    }
    if !config.excluded {
        loader.map_max_entries("EXCLUDED", 1);
    }
    loader.map_max_entries("EVENTS", transport.entries(config.ring_bytes));
    let mut ebpf = loader.load(object).map_err(LoadError::Object)?;
    for inum in &config.netns {
        add_netns(&mut ebpf, *inum)?;
    }
    let mut ports: HashMap<_, u16, u8> = map(&mut ebpf, "PORTS")?;
    for port in &config.ports {
        ports.insert(port, 1, 0).map_err(LoadError::Write)?;
    }
    let mut addresses: HashMap<_, [u8; 16], u8> = map(&mut ebpf, "ADDRESSES")?;
    for address in &config.addresses {
        addresses.insert(bytes(*address), 1, 0).map_err(LoadError::Write)?;
    }
    Ok(ebpf)
}

/// The hooks of these steps, which share some.
fn once_each(steps: &[Option<&Step>]) -> Vec<Hook> {
    let mut known = BTreeSet::new();
    let hooks = steps.iter().flatten().flat_map(|step| step.hooks);
    hooks.filter(|hook| known.insert((hook.program, hook.target))).copied().collect()
}

fn add_netns(ebpf: &mut Ebpf, inum: u32) -> Result<(), ProbeError> {
    let mut netns: HashMap<_, u32, u8> = map(ebpf, "NETNS")?;
    netns.insert(inum, 1, 0).map_err(LoadError::Write)?;
    Ok(())
}

fn watches(config: &TraceConfig) -> Watched {
    Watched {
        everything: config.all,
        filtered: filtered(config),
        counts_left_out: true,
        older_listeners: true,
    }
}

/// Whether healthy handshakes are only counted, and all of them.
fn bare(config: &TraceConfig) -> bool {
    config.aggregate && config.quiet && !filtered(config)
}

/// Whether anything is left out inside of a network namespace.
fn filtered(config: &TraceConfig) -> bool {
    !config.ports.is_empty()
        || !config.addresses.is_empty()
        || config.family.is_some()
        || config.excluded
}

pub(super) fn map<'a, T>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<T, LoadError>
where
    T: TryFrom<&'a mut aya::maps::Map, Error = MapError>,
{
    let map = ebpf.map_mut(name).ok_or(LoadError::NoMap(name))?;
    T::try_from(map).map_err(|e| LoadError::Map(name, e))
}

/// As in [`overflow_common::RawEvent::server`].
fn bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
    }
}

/// Kernels before 5.11 charge maps to RLIMIT_MEMLOCK.
fn raise_memlock() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    // A refusal shows itself later, as the error of loading a map.
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}
