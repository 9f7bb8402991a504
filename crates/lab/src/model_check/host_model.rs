//! The running kernel as the model knows it, compared with what cells showed.

use overflow_core::{
    model::{features::Features, kernels::UnknownKernel},
    verdict::Connection,
};
use overflow_host::kernel;

use super::{Checked, NotChecked, as_observed, check};
use crate::report::CellReport;

/// The running kernel; what its name leaves open is taken from the traces.
pub struct HostModel {
    /// Its name in the model.
    pub name: String,
    /// What it does.
    pub features: Features,
}

impl HostModel {
    /// The running kernel by its name.
    pub fn of_this_host() -> Result<Self, UnknownKernel> {
        let kernel = kernel::model_kernel()?;
        Ok(Self { name: kernel.name, features: kernel.features })
    }

    /// Learns from what these cells showed.
    pub fn learn(&mut self, cells: &[CellReport]) {
        let judged = cells.iter().flat_map(|c| &c.judgement.connections);
        self.features = as_observed(self.features, judged.flat_map(|j| &j.connection.stages));
    }

    /// Compares one cell.
    pub fn check(&self, cell: &CellReport) -> Result<Checked, NotChecked> {
        let traced: Vec<&Connection> =
            cell.judgement.connections.iter().map(|j| &j.connection).collect();
        check(self.features, &cell.config, &cell.observation, &traced, &cell.blind_to())
    }
}
