//! Devices and addresses of the calling process's network namespace.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use futures_util::TryStreamExt as _;
use rtnetlink::{
    Handle, LinkIpVlan, LinkMacVlan, LinkUnspec, LinkVeth, LinkVlan, RouteMessageBuilder,
    packet_route::{
        address::{AddressAttribute, AddressFlags},
        link::{IpVlanMode, LinkAttribute, MacVlanMode},
        route::RouteScope,
    },
};
use tokio::runtime::{Builder, Runtime};

/// The number of VLAN devices.
const VLAN: u16 = 7;
/// Time for a device to come up.
const SETTLE: Duration = Duration::from_millis(20);

/// Speaks rtnetlink in one namespace.
pub struct Links {
    runtime: Runtime,
    handle: Handle,
}

impl Links {
    /// In the namespace that this process is in now.
    pub fn here() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            tokio::spawn(connection);
            anyhow::Ok(handle)
        });
        Ok(Self { handle: handle.context("cannot open rtnetlink")?, runtime })
    }

    /// Sets a device up and gives it these addresses, each with the length of its prefix.
    pub fn up(&self, device: &str, addresses: &[(IpAddr, u8)]) -> Result<()> {
        let index = self.find(device)?.0;
        let work = async {
            for &(address, length) in addresses {
                let mut request = self.handle.address().add(index, address, length);
                if address.is_ipv6() {
                    // Usable at once, without duplicate address detection.
                    let nodad = AddressAttribute::Flags(AddressFlags::Nodad);
                    request.message_mut().attributes.push(nodad);
                }
                request.execute().await?;
            }
            let up = LinkUnspec::new_with_index(index).up().build();
            self.handle.link().set(up).execute().await?;
            // The carrier of a new device is noticed by a work queue.
            tokio::time::sleep(SETTLE).await;
            anyhow::Ok(())
        };
        self.runtime.block_on(work).with_context(|| format!("cannot set {device} up"))
    }

    /// Delays everything that a device sends.
    pub fn delay(&self, device: &str, by: Duration) -> Result<()> {
        let index = self.find(device)?.0;
        let added =
            self.runtime.block_on(overflow_lab::delay_what_is_sent(&self.handle, index, by));
        added.with_context(|| format!("cannot delay what {device} sends"))
    }

    /// A device's index and link-layer address.
    pub fn find(&self, device: &str) -> Result<(u32, Vec<u8>)> {
        let work = async {
            let mut found = self.handle.link().get().match_name(device.to_owned()).execute();
            let link = found.try_next().await?.ok_or_else(|| anyhow!("it is not there"))?;
            let address = link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::Address(address) => Some(address.clone()),
                _ => None,
            });
            anyhow::Ok((link.header.index, address.unwrap_or_default()))
        };
        self.runtime.block_on(work).with_context(|| format!("cannot look at {device}"))
    }

    /// A pair: `veth0` here, `veth1` in the namespace of a process.
    pub fn veth(&self, process: u32) -> Result<()> {
        let work = async {
            self.handle.link().add(LinkVeth::new("veth0", "veth1").build()).execute().await?;
            let there = LinkUnspec::new_with_name("veth1").setns_by_pid(process).build();
            self.handle.link().set(there).execute().await?;
            anyhow::Ok(())
        };
        self.runtime.block_on(work).context("cannot make a veth pair")
    }

    /// `dev0` on the end of the pair that is here, in the namespace of a process; whether this
    /// kernel knows such devices.
    pub fn device(&self, kind: &str, process: Option<u32>) -> Result<bool> {
        let lower = self.find("veth0").or_else(|_| self.find("veth1"))?.0;
        let mut message = match kind {
            "macvlan" => LinkMacVlan::new("dev0", lower, MacVlanMode::Bridge).build(),
            "ipvlan" => LinkIpVlan::new("dev0", lower, IpVlanMode::L2).build(),
            _ => LinkVlan::new("dev0", lower, VLAN).build(),
        };
        if let Some(process) = process {
            message.attributes.push(LinkAttribute::NetNsPid(process));
        }
        match self.runtime.block_on(self.handle.link().add(message).execute()) {
            Err(rtnetlink::Error::NetlinkError(e)) if -e.raw_code() == libc::EOPNOTSUPP => {
                Ok(false)
            }
            other => other.map(|()| true).with_context(|| format!("cannot make a {kind} device")),
        }
    }

    /// Adds or removes the route to a network.
    pub fn route(&self, add: bool, (network, length): (Ipv4Addr, u8), device: &str) -> Result<()> {
        let index = self.find(device)?.0;
        let route = RouteMessageBuilder::<Ipv4Addr>::new();
        let route = route.destination_prefix(network, length).output_interface(index);
        let route = route.scope(RouteScope::Link).build();
        let work = async {
            if add {
                self.handle.route().add(route).execute().await
            } else {
                self.handle.route().del(route).execute().await
            }
        };
        self.runtime.block_on(work).with_context(|| format!("cannot change the route to {network}"))
    }
}
