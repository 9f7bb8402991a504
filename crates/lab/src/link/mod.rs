//! The link between the two namespaces: veth with netem where the kernel has both, else TUN
//! devices and a forwarder of our own.

pub(crate) mod veth;
pub(crate) mod tun;
pub(crate) mod netem;
pub(crate) mod netlink;
pub(crate) mod forward;
pub(crate) mod delay;
pub(crate) mod offload;
pub(crate) mod ifreq;
pub(crate) mod rules;

use overflow_core::{text::sentence, wire::LinkKind};

use crate::{
    CellConfig, LabError, cell::netns::Namespace, ends::family::Addresses, link::forward::Forwarder,
};

/// The largest burst given to netem, clients. netem lets packets of the same time go in one
/// softirq, where each CPU takes `net.core.netdev_max_backlog` of them (1000 by default, a setting
/// of the whole host) and drops the rest (`enqueue_to_backlog` in net/core/dev.c): SYN-ACKs and
/// the third ACKs they cause share that queue.
const NETEM_BURST: u32 = 400;

/// A link that delays what the server sends.
pub(crate) struct Link {
    forwarder: Option<Forwarder>,
    reason: Option<String>,
    dropped_before: u64,
}

impl Link {
    /// Links the namespaces, by the better way that works.
    pub(crate) fn build(
        server: &Namespace,
        client: &Namespace,
        addresses: Addresses,
        config: &CellConfig,
    ) -> Result<Self, LabError> {
        let delay = config.delay;
        let netem = || veth::build(server, client, addresses, delay);
        let userspace = || {
            let server_end = tun::build(server, addresses.server)?;
            let client_end = tun::build(client, addresses.client)?;
            Forwarder::start(server_end, client_end, delay)
        };
        let too_many = format!(
            "netem would lose packets of a burst of {} clients; it is used up to {NETEM_BURST}",
            config.clients
        );
        let by_netem = || Self { forwarder: None, reason: None, dropped_before: 0 };
        let by_userspace = |forwarder, reason| Self {
            forwarder: Some(forwarder),
            reason: Some(reason),
            dropped_before: 0,
        };
        if config.clients > NETEM_BURST {
            // A link that loses some, and reports it, is still better than none.
            return match userspace() {
                Ok(forwarder) => Ok(by_userspace(forwarder, too_many)),
                Err(tun) => netem().map(|()| by_netem()).map_err(|netem| no_link(&netem, &tun)),
            };
        }
        match netem() {
            Ok(()) => Ok(by_netem()),
            Err(netem) => match userspace() {
                Ok(forwarder) => Ok(by_userspace(forwarder, sentence(&netem))),
                Err(tun) => Err(no_link(&netem, &tun)),
            },
        }
    }

    /// Which way it is.
    pub(crate) fn kind(&self) -> LinkKind {
        if self.forwarder.is_some() { LinkKind::Userspace } else { LinkKind::Netem }
    }

    /// Why it is not the better way.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Counts losses from here on.
    pub(crate) async fn start_counting(
        &mut self,
        server: &Namespace,
        client: &Namespace,
    ) -> Result<(), LabError> {
        self.dropped_before = self.dropped(server, client).await?;
        Ok(())
    }

    /// Ends the link; answers with the packets it lost since
    /// [`start_counting`](Self::start_counting).
    pub(crate) async fn finish(
        self,
        server: &Namespace,
        client: &Namespace,
    ) -> Result<u64, LabError> {
        let dropped = self.dropped(server, client).await? - self.dropped_before;
        if let Some(forwarder) = self.forwarder {
            forwarder.stop()?;
        }
        Ok(dropped)
    }

    async fn dropped(&self, server: &Namespace, client: &Namespace) -> Result<u64, LabError> {
        let kind = self.kind();
        let (server_name, client_name) = match kind {
            LinkKind::Netem => (veth::SERVER, veth::CLIENT),
            LinkKind::Userspace => (tun::NAME, tun::NAME),
        };
        let at_server = server
            .run(move || async move {
                let handle = netlink::connect()?;
                let end = netlink::interface(&handle, server_name).await?;
                let queued = match kind {
                    LinkKind::Netem => netem::drops(&handle, end.index).await?,
                    LinkKind::Userspace => 0,
                };
                Ok(end.tx_dropped + queued)
            })
            .await?;
        let at_client = client
            .run(move || async move {
                let handle = netlink::connect()?;
                Ok(netlink::interface(&handle, client_name).await?.tx_dropped)
            })
            .await?;
        Ok(at_server + at_client + self.forwarder.as_ref().map_or(0, Forwarder::lost))
    }
}

fn no_link(netem: &LabError, tun: &LabError) -> LabError {
    LabError::NoLink { netem: sentence(netem), tun: sentence(tun) }
}
