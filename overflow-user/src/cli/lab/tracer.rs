//! The tracer of a lab run: attached to the cells' namespaces, its records kept for `--record`.

use super::{LabArgs, recording::LabRecording};
use crate::cli::tracing::Tracing;
use overflow::probe::TraceConfig;
use overflow_lab::tracing::{self, Traced, TracingError};

/// A running tracer.
pub(super) struct LabTracing<'a> {
    tracing: Tracing,
    recording: &'a LabRecording,
}

impl<'a> LabTracing<'a> {
    /// Attaches, from inside a runtime, to these namespaces; `None` if no tracer is wanted, or, after
    /// printing why, if that does not work. A rung that was asked for and does not attach is an error.
    pub(super) fn start(
        args: &LabArgs,
        netns: &[u32],
        recording: &'a LabRecording,
    ) -> Result<Option<Self>, TracingError> {
        if !args.traced() {
            return Ok(None);
        }
        let config = TraceConfig {
            ports: vec![args.port()],
            netns: netns.to_vec(),
            all: true,
            rung: args.rung(),
            debug: args.debug,
            ..TraceConfig::default()
        };
        match Tracing::start(args.btf.as_deref(), &config, recording.wanted()) {
            Ok(tracing) => Ok(Some(Self { tracing, recording })),
            Err(error) if args.rung().is_some() => Err(error.into()),
            Err(error) => {
                overflow::say!("overflow: {error:#}");
                overflow::say!(
                    "overflow: verdicts are inferred from packets, counters and sockets alone"
                );
                Ok(None)
            }
        }
    }
}

impl tracing::Tracing for LabTracing<'_> {
    fn add_netns(&mut self, inum: u32) -> Result<(), TracingError> {
        Ok(self.tracing.add_netns(inum)?)
    }

    async fn finish(self) -> Result<Traced, TracingError> {
        let finished = self.tracing.finish().await?;
        self.recording.add(&finished.header, &finished.records)?;
        Ok(finished.traced)
    }
}
