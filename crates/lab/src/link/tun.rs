//! A TUN device: packets that a namespace routes into it are read from a file, and the other way
//! round. The device goes with the file.

use std::{
    fs::{File, OpenOptions},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
};

use rtnetlink::LinkUnspec;

use crate::{
    LabError,
    cell::netns::Namespace,
    error::During,
    link::{
        ifreq,
        netlink::{self, refused},
    },
};

/// The device's name, the same in both namespaces.
pub(crate) const NAME: &str = "tun0";

/// Packets the device holds for its reader; the default of 500 is less than a large burst. More
/// is refused with ERANGE by 6.1.192 and 6.12.117, though not by 5.10.262.
const TX_QUEUE_LEN: u32 = 32_767;

/// `IFF_TUN | IFF_NO_PI` of include/uapi/linux/if_tun.h: IP packets without a header before them.
const TUN_WITHOUT_HEADER: i16 = 0x0001 | 0x1000;

/// Makes the device in `namespace`, with its address, up; reads and writes do not block.
pub(crate) fn build(namespace: &Namespace, address: IpAddr) -> Result<File, LabError> {
    namespace.run_blocking(move || async move {
        // The device is made in the namespace of the thread that opens the file
        // (`tun_chr_open` in drivers/net/tun.c).
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")
            .during("opening /dev/net/tun")?;
        ifreq::tunsetiff(&file, NAME, TUN_WITHOUT_HEADER).during("making a TUN device")?;
        let handle = netlink::connect()?;
        let index = netlink::interface(&handle, NAME).await?.index;
        let longer = LinkUnspec::new_with_index(index).txqueuelen(TX_QUEUE_LEN).build();
        handle.link().set(longer).execute().await.map_err(refused).during("setting txqueuelen")?;
        netlink::add_address(&handle, index, address).await?;
        netlink::set_up(&handle, index).await?;
        Ok(file)
    })
}
