//! Devices and addresses of the calling process's network namespace.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use futures_util::TryStreamExt as _;
use rtnetlink::{
    Handle, LinkUnspec,
    packet_route::address::{AddressAttribute, AddressFlags},
};
use tokio::runtime::{Builder, Runtime};

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
        let work = async {
            let mut found = self.handle.link().get().match_name(device.to_owned()).execute();
            let link = found.try_next().await?.ok_or_else(|| anyhow!("it is not there"))?;
            let index = link.header.index;
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
            tokio::time::sleep(Duration::from_millis(20)).await;
            anyhow::Ok(())
        };
        self.runtime.block_on(work).with_context(|| format!("cannot set {device} up"))
    }
}
