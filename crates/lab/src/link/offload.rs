//! Checksum offload of a veth end, off: what is captured and written to a pcap then carries the
//! checksums it would have on a wire.

use socket2::{Domain, Socket, Type};

use crate::{LabError, error::During, link::ifreq};

/// `ETHTOOL_STXCSUM` of include/uapi/linux/ethtool.h.
const ETHTOOL_STXCSUM: u32 = 0x17;

/// Has the kernel compute TCP checksums in software for what `name` sends. Segmentation offload
/// goes with it (`netdev_fix_features` in net/core/dev.c).
pub(crate) fn compute_checksums(name: &str) -> Result<(), LabError> {
    let what = || format!("switching checksum offload of {name} off");
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).during(what())?;
    ifreq::ethtool_set(&socket, name, ETHTOOL_STXCSUM, 0).during(what())
}
