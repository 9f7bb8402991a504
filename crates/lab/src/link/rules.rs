//! One rule of policy routing, in the calling thread's network namespace: `ip rule add fwmark N
//! unreachable`.

use rtnetlink::packet_route::rule::RuleAction;

use crate::{
    LabError,
    error::During,
    link::netlink::{self, refused},
};

/// Before the main table (32766).
const PRIORITY: u32 = 100;

/// Makes everything that carries `mark` unroutable, for both IPs if the kernel speaks IPv6.
pub(crate) async fn unroutable(mark: u32, ipv6: bool) -> Result<(), LabError> {
    let what = || format!("adding a routing rule for fwmark {mark}");
    let handle = netlink::connect()?;
    let rule =
        || handle.rule().add().action(RuleAction::Unreachable).fw_mark(mark).priority(PRIORITY);
    rule().v4().execute().await.map_err(refused).during(what())?;
    if ipv6 {
        rule().v6().execute().await.map_err(refused).during(what())?;
    }
    Ok(())
}
