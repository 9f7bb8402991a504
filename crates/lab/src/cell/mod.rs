//! One cell of the experiment, from two empty namespaces to an observation.

pub(crate) mod config;
pub(crate) mod observation;
pub(crate) mod script;
pub(crate) mod steps;
pub mod global;
pub(crate) mod netns;
pub(crate) mod sysctl;
pub(crate) mod files;
pub(crate) mod destroy;

use std::{collections::BTreeSet, net::SocketAddr, os::fd::OwnedFd, sync::Arc, time::Duration};

use tokio::time::sleep;

use overflow_core::model::scenario::Phase;

use crate::{
    CellConfig, ClientView, LabError, ListenerQueue, Observation, Setup, Timeline,
    capture::{Capture, concurrent::concurrent},
    cell::{
        global::Settings,
        netns::Namespace,
        steps::{Application, Sides, since},
    },
    ends::{
        clients::{self, Client},
        family::Addresses,
        listener, sockopt,
    },
    error::During,
    link::{Link, rules},
};
use overflow_host::{
    clock::monotonic_ns,
    counters::{self, Counters, Group},
};

/// How long after the close's own delay the capture goes on: the resets must have arrived.
const AFTER_CLOSE: Duration = Duration::from_millis(300);
/// How long a prefill connection may take beyond the link's delay: one SYN or SYN-ACK may get
/// lost to a full queue and be sent again after 1 s.
const PREFILL_TIMEOUT: Duration = Duration::from_secs(4);
/// A script's step that comes later than this may find another world than it was written for.
const LATE: Duration = Duration::from_millis(60);
/// Beyond this the wall clock was set, not adjusted.
const CLOCK_STEP_NS: u64 = 1_000_000;

/// What a running cell has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The listener is open and the capture runs.
    Listening,
    /// So many prefill connections are established.
    Prefilled(u32),
    /// Every client has called `connect()`.
    Burst,
    /// The hold is over, views and counters are read.
    Held,
    /// The listener is closed.
    Closed,
}

/// One prepared cell: two anonymous network namespaces, linked, sysctls set; nothing runs yet.
///
/// Dropping it, or the future of [`run`](Self::run), takes everything down again.
pub struct Cell {
    config: CellConfig,
    addresses: Addresses,
    server: Namespace,
    client: Namespace,
    link: Link,
    /// What is not its namespace's to set on this kernel.
    global: Settings,
}

impl Cell {
    /// Prepares a cell with the server at 10.7.`subnet`.1 and the clients at 10.7.`subnet`.2, or at
    /// fd07:`subnet`::1 and fd07:`subnet`::2.
    /// Blocks the calling thread while the kernel works, some tens of milliseconds.
    pub fn prepare(config: CellConfig, subnet: u8) -> Result<Self, LabError> {
        config.check()?;
        files::make_room(&config)?;
        let addresses = config.family.addresses(subnet);
        let server = Namespace::create("lab-server")?;
        let client = Namespace::create("lab-client")?;
        let settings = config.clone();
        let global = server.run_blocking(move || async move { apply(&settings) })?;
        // From here, in the host's own namespace, they can be seen.
        for key in global.keys() {
            sysctl::read(key)?;
        }
        let script = config.script;
        client.run_blocking(move || async move {
            script.setup.iter().try_for_each(|setup| match setup {
                Setup::ClientSysctl(key, value) => sysctl::set(key, *value),
                _ => Ok(()),
            })
        })?;
        let link = Link::build(&server, &client, addresses, &config)?;
        let ipv6 = config.family.listens_on_ipv6();
        server.run_blocking(move || async move {
            for setup in script.setup {
                if let Setup::Unroutable(mark) = *setup {
                    rules::unroutable(mark, ipv6).await?;
                }
            }
            Ok(())
        })?;
        Ok(Self { config, addresses, server, client, link, global })
    }

    /// Inode number of the server's network namespace, for the tracer's filter.
    pub fn server_netns_inum(&self) -> u32 {
        self.server.inum()
    }

    /// Sysctls that must be set for the whole host while it runs; none since v4.15.
    pub(crate) fn global(&self) -> &Settings {
        &self.global
    }

    /// A descriptor that keeps the server's network namespace, and with it its inode number, from
    /// being given to another while this cell's records are still to be distinguished.
    pub(crate) fn hold_netns(&self) -> Result<OwnedFd, LabError> {
        self.server.fd().try_clone_to_owned().during("holding a network namespace")
    }

    /// The server's address.
    pub(crate) fn server_addr(&self) -> SocketAddr {
        SocketAddr::from((self.addresses.server, self.config.port))
    }

    /// Runs the cell once: prefill, burst, the script's steps, hold, close.
    ///
    /// If the observation is not `concurrent`, prepare and run a fresh cell: the first one's
    /// counters and queue are spent. `progress` is called as the cell goes on.
    pub async fn run(
        mut self,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Observation, LabError> {
        let server_addr = self.server_addr();
        let (backlog, script) = (self.config.backlog, self.config.script);
        let address = self.config.family.bind_address(server_addr);
        let mut notes: Vec<String> = Vec::new();
        if let Some(reason) = self.link.reason() {
            notes.push(format!("the delay is made by a user-space link: {reason}"));
        }
        if !self.global.is_empty() {
            let keys: Vec<_> = self.global.keys().map(|key| format!("net.{key}")).collect();
            notes.push(format!(
                "{} are the whole host's on this kernel: they were set for this run and put back",
                keys.join(" and ")
            ));
        }
        self.link.start_counting(&self.server, &self.client).await?;
        let capture = Capture::start(&self.server).await?;
        let counters_before = self.server.run(|| async { counters() }).await?;
        let listener = self
            .server
            .run(move || async move { listener::open(address, backlog, &script) })
            .await?;
        let mut application = Application::new(listener);
        progress(Progress::Listening);

        let prefilled = self.prefill(&application, &progress).await?;
        let before = self.look(&application).await?;
        notes.extend(before.note);

        let (burst, burst_ns) = self.burst().await?;
        progress(Progress::Burst);
        let mut late = application.follow(self.sides(), &burst, burst_ns).await?;
        sleep(self.config.hold.saturating_sub(since(burst_ns))).await;
        if !script.name.is_empty() {
            late = late.max(since(burst_ns).saturating_sub(self.config.hold));
        }
        let in_time = late <= LATE;
        if !in_time {
            notes.push(format!("a step of the script was {} ms late", late.as_millis()));
        }

        let hold_end = monotonic_ns();
        let counters_after = self.server.run(|| async { counters() }).await?;
        let after = self.look(&application).await?;
        let clients: Vec<_> = prefilled.into_iter().chain(burst).collect();
        let mut views = clients.iter().map(Client::view).collect::<Result<Vec<_>, _>>()?;
        views.extend(application.take_crafted());
        progress(Progress::Held);

        // What was accepted outlives the capture: closing it is no part of the experiment.
        let _accepted = application.stop_accepting().await?;
        application.close(&self.server).await?;
        let close = application.closed().unwrap_or(hold_end);
        progress(Progress::Closed);
        sleep(self.config.delay + AFTER_CLOSE).await;

        let captured = capture.stop().await?;
        if captured.clock_moved_ns > CLOCK_STEP_NS {
            notes.push(format!(
                "the wall clock was set by {} ms during the run; packet times are off by as much",
                captured.clock_moved_ns / 1_000_000
            ));
        }
        let link = self.link.kind();
        let link_drops = self.link.finish(&self.server, &self.client).await?;
        let sources: BTreeSet<_> = views.iter().filter(|v| in_burst(v)).map(|v| v.local).collect();
        Ok(Observation {
            server: server_addr,
            clients: views,
            server_sockets: after.sockets,
            queue: (before.queue, after.queue),
            counters: counters::delta(&counters_before, &counters_after),
            concurrent: in_time && concurrent(&captured.packets, &sources),
            packets: captured.packets,
            capture_drops: captured.drops,
            link_drops,
            link,
            notes,
            global_sysctls: !self.global.is_empty(),
            attempts: 1,
            timeline: Timeline { burst: burst_ns, hold_end, close },
        })
    }

    /// Completes the prefill connections one by one.
    async fn prefill(
        &self,
        application: &Application,
        progress: &(impl Fn(Progress) + Send + Sync),
    ) -> Result<Vec<Client>, LabError> {
        let (from, server) = (self.addresses.client, self.server_addr());
        let timeout = PREFILL_TIMEOUT + 2 * self.config.delay;
        let of = self.config.prefill;
        let mut clients = Vec::new();
        let Some(listener) = application.listener() else { return Ok(clients) };
        let script = self.config.script;
        for number in 1..=of {
            let fail =
                |state| LabError::Prefill { number, of, timeout_s: timeout.as_secs(), state };
            let index = u16::try_from(number - 1).map_err(|_| LabError::PrefillTooLarge(of))?;
            let client = self
                .client
                .run(move || async move {
                    clients::prefill(from, server, index, timeout, &script).await
                })
                .await?
                .map_err(|state| fail(format!("the client is {state}")))?;
            clients.push(client);
            // The client is established when its ACK is sent; the server when that arrived.
            let mut queue = ListenerQueue::default();
            for _ in 0..timeout.as_millis() {
                queue = sockopt::listener_queue(&**listener)?;
                if queue.recv_q >= number {
                    break;
                }
                sleep(Duration::from_millis(1)).await;
            }
            if queue.recv_q < number {
                return Err(fail(format!("the accept queue holds {}", queue.recv_q)));
            }
            progress(Progress::Prefilled(number));
        }
        Ok(clients)
    }

    async fn burst(&self) -> Result<(Vec<Client>, u64), LabError> {
        let (from, server) = (self.addresses.client, self.server_addr());
        let count = u16::try_from(self.config.clients)
            .map_err(|_| LabError::TooManyClients(self.config.clients))?;
        let (payload, script) = (self.config.payload, self.config.script);
        self.client
            .run(move || async move { clients::burst(from, server, count, payload, &script) })
            .await
    }

    fn sides(&self) -> Sides<'_> {
        Sides {
            server: &self.server,
            client: &self.client,
            addresses: self.addresses,
            config: &self.config,
        }
    }

    /// Looks at the listener from its own namespace.
    async fn look(&self, application: &Application) -> Result<listener::View, LabError> {
        let listener = application.listener().map(Arc::clone);
        let (port, ipv6) = (self.config.port, self.config.family.listens_on_ipv6());
        self.server
            .run(move || async move { listener::view(listener.as_deref(), port, ipv6) })
            .await
    }
}

/// The counters of the calling thread's namespace.
fn counters() -> Result<Counters, LabError> {
    let mut counters = Group::TcpExt.read()?;
    counters.extend(Group::Tcp.read()?);
    Ok(counters)
}

/// Whether this client is one of those that connect at once.
fn in_burst(view: &ClientView) -> bool {
    view.phase == Phase::Burst && !view.is_crafted()
}

/// Sets the cell's sysctls in the calling thread's namespace, and returns those that it does not have.
fn apply(config: &CellConfig) -> Result<Settings, LabError> {
    let mut global = Settings::new();
    for (key, value) in [
        ("ipv4.tcp_abort_on_overflow", config.abort_on_overflow),
        ("ipv4.tcp_syncookies", config.syncookies),
    ] {
        match sysctl::set(key, value.into()) {
            Err(LabError::SysctlNotPerNamespace { key }) => {
                global.insert(key, value.into());
            }
            set => set?,
        }
    }
    if let Some(somaxconn) = config.somaxconn {
        sysctl::set("core.somaxconn", somaxconn)?;
    }
    for setup in config.script.setup {
        match setup {
            Setup::Sysctl(key, value) => sysctl::set(key, *value)?,
            Setup::NeedsSysctl(key) => sysctl::read(key).map(drop)?,
            Setup::NeedsDestroy => destroy::can_destroy()?,
            Setup::ClientSysctl(..)
            | Setup::DeferAccept(_)
            | Setup::FastOpen(_)
            | Setup::Mark(_)
            | Setup::Unroutable(_)
            | Setup::Filter
            | Setup::Mptcp
            | Setup::ReusePort
            | Setup::KeepAlive(_) => {}
        }
    }
    let somaxconn = sysctl::read("core.somaxconn")?;
    let room = config.accept_queue_room(somaxconn);
    if config.prefill > room {
        let (prefill, backlog) = (config.prefill, config.backlog);
        return Err(LabError::PrefillOverflows { prefill, backlog, somaxconn, room });
    }
    Ok(global)
}
