//! Room for a cell's sockets in the process's table of open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{CellConfig, LabError, error::During};

/// Descriptors beside the clients' sockets: of this cell, of cells run beside it, of the tracer.
const BESIDES: u64 = 256;

/// Raises the soft limit to the hard one, and refuses a cell that still does not fit.
pub(crate) fn make_room(config: &CellConfig) -> Result<(), LabError> {
    let need = u64::from(config.clients) + u64::from(config.prefill) + BESIDES;
    let limit = getrlimit(Resource::Nofile);
    // `None` is RLIM_INFINITY.
    let hard = limit.maximum.unwrap_or(u64::MAX);
    if need > hard {
        return Err(LabError::OpenFiles { need, hard });
    }
    if limit.current.is_some_and(|soft| soft < need) {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).during("raising RLIMIT_NOFILE")?;
    }
    Ok(())
}
