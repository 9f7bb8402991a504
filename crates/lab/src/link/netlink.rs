//! The few rtnetlink requests a link needs, in the calling thread's network namespace.

use std::{io, net::IpAddr, time::Duration};

use futures_util::TryStreamExt;
use rtnetlink::{
    Handle, LinkUnspec,
    packet_route::{
        address::{AddressAttribute, AddressFlags},
        link::{LinkAttribute, LinkMessage, State},
    },
};

use crate::{LabError, ends::family::prefix_len, error::During};

/// An interface, as far as the lab wants to know it.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    /// Interface index.
    pub(crate) index: u32,
    /// Link-layer address; empty on TUN.
    pub(crate) mac: Vec<u8>,
    /// Packets the device did not take from its own stack (`tx_dropped`).
    pub(crate) tx_dropped: u64,
    operstate: Option<State>,
}

/// Opens rtnetlink here; the connection ends with the last clone of the handle.
pub(crate) fn connect() -> Result<Handle, LabError> {
    let (connection, handle, _) = rtnetlink::new_connection().during("opening rtnetlink")?;
    tokio::task::spawn_local(connection);
    Ok(handle)
}

/// Looks an interface up by name.
pub(crate) async fn interface(handle: &Handle, name: &str) -> Result<Interface, LabError> {
    let what = || format!("looking up interface {name}");
    let mut replies = handle.link().get().match_name(name).execute();
    match replies.try_next().await.map_err(refused).during(what())? {
        Some(message) => Ok(describe(&message)),
        None => Err(io::Error::from(io::ErrorKind::NotFound)).during(what()),
    }
}

/// Gives the interface its address on the cell's subnet.
pub(crate) async fn add_address(
    handle: &Handle,
    index: u32,
    address: IpAddr,
) -> Result<(), LabError> {
    let mut request = handle.address().add(index, address, prefix_len(address));
    if address.is_ipv6() {
        // Without it the address is tentative, and of no use, for as long as duplicate address
        // detection takes (`addrconf_dad_begin` in net/ipv6/addrconf.c).
        let nodad = AddressAttribute::Flags(AddressFlags::Nodad);
        request.message_mut().attributes.push(nodad);
    }
    request.execute().await.map_err(refused).during(format!("adding address {address}"))
}

/// Sets the interface up.
pub(crate) async fn set_up(handle: &Handle, index: u32) -> Result<(), LabError> {
    let message = LinkUnspec::new_with_index(index).up().build();
    handle.link().set(message).execute().await.map_err(refused).during("setting the link up")
}

/// Waits until the interface carries packets.
///
/// A veth has no queueing discipline until linkwatch has noticed its carrier (`linkwatch_do_dev`
/// calls `dev_activate` from a workqueue); what is sent before that is lost in `noop_enqueue`.
/// The operational state changes in the same place under the same lock.
pub(crate) async fn wait_until_up(handle: &Handle, name: &str) -> Result<(), LabError> {
    const TRIES: u32 = 2000;
    for _ in 0..TRIES {
        if interface(handle, name).await?.operstate == Some(State::Up) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Err(io::Error::from(io::ErrorKind::TimedOut)).during(format!("waiting for {name} to come up"))
}

/// An rtnetlink error as the kernel's errno where there is one.
pub(crate) fn refused(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other.to_string()),
    }
}

fn describe(message: &LinkMessage) -> Interface {
    let mut interface =
        Interface { index: message.header.index, mac: Vec::new(), tx_dropped: 0, operstate: None };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(mac) => interface.mac.clone_from(mac),
            LinkAttribute::OperState(state) => interface.operstate = Some(*state),
            LinkAttribute::Stats(stats) => interface.tx_dropped = u64::from(stats.tx_dropped),
            _ => {}
        }
    }
    interface
}
