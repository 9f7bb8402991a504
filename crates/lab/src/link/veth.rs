//! A veth pair between the two namespaces, with netem on the server's end.

use std::{io, net::IpAddr, os::fd::AsRawFd, time::Duration};

use rtnetlink::{LinkUnspec, LinkVeth, packet_route::neighbour::NeighbourState};

use crate::{
    LabError,
    cell::netns::Namespace,
    ends::family::Addresses,
    error::During,
    link::{
        netem,
        netlink::{self, refused},
        offload,
    },
};

/// The server's end.
pub(crate) const SERVER: &str = "veth-server";
/// The client's end.
pub(crate) const CLIENT: &str = "veth-client";

/// Builds the pair; on failure nothing of it is left.
pub(crate) fn build(
    server: &Namespace,
    client: &Namespace,
    addresses: Addresses,
    delay: Duration,
) -> Result<(), LabError> {
    let client_netns = client.fd().as_raw_fd();
    let server_mac = server.run_blocking(move || create(client_netns, addresses, delay))?;
    let client_mac = client.run_blocking(move || async move {
        offload::compute_checksums(CLIENT)?;
        let handle = netlink::connect()?;
        let end = netlink::interface(&handle, CLIENT).await?;
        netlink::add_address(&handle, end.index, addresses.client).await?;
        netlink::set_up(&handle, end.index).await?;
        add_neighbour(&handle, end.index, addresses.server, &server_mac).await?;
        netlink::wait_until_up(&handle, CLIENT).await?;
        Ok(end.mac)
    })?;
    server.run_blocking(move || async move {
        let handle = netlink::connect()?;
        let end = netlink::interface(&handle, SERVER).await?;
        add_neighbour(&handle, end.index, addresses.client, &client_mac).await?;
        add_neighbour(&handle, end.index, addresses.crafted, &client_mac).await?;
        netlink::wait_until_up(&handle, SERVER).await
    })
}

async fn create(
    client_netns: i32,
    addresses: Addresses,
    delay: Duration,
) -> Result<Vec<u8>, LabError> {
    let handle = netlink::connect()?;
    let pair = LinkVeth::new(SERVER, CLIENT).build();
    handle
        .link()
        .add(pair)
        .execute()
        .await
        .map_err(refused)
        .map_err(explain)
        .during("adding veth")?;
    let end = netlink::interface(&handle, SERVER).await?;
    // netem before anything else: where it is missing, the pair goes again.
    if let Err(error) = netem::add(&handle, end.index, delay).await {
        handle.link().del(end.index).execute().await.map_err(refused).during("removing veth")?;
        return Err(error);
    }
    let peer = netlink::interface(&handle, CLIENT).await?;
    let moved = LinkUnspec::new_with_index(peer.index).setns_by_fd(client_netns).build();
    handle.link().set(moved).execute().await.map_err(refused).during("moving veth's other end")?;
    offload::compute_checksums(SERVER)?;
    netlink::add_address(&handle, end.index, addresses.server).await?;
    netlink::set_up(&handle, end.index).await?;
    Ok(end.mac)
}

/// A permanent entry: the first SYNs of a burst must not wait for ARP or
/// neighbour discovery, whose queue is short
/// (`neigh_event_send`, `unres_qlen_bytes`) and would let them go in one lump.
async fn add_neighbour(
    handle: &rtnetlink::Handle,
    index: u32,
    address: IpAddr,
    mac: &[u8],
) -> Result<(), LabError> {
    let request = handle
        .neighbours()
        .add(index, address)
        .link_layer_address(mac)
        .state(NeighbourState::Permanent)
        .replace();
    request.execute().await.map_err(refused).during(format!("adding neighbour {address}"))
}

fn explain(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(libc::EOPNOTSUPP) {
        return io::Error::other("this kernel has no veth, or cannot load the module here");
    }
    error
}
