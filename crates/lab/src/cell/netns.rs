//! An anonymous network namespace: one thread that entered it, and the jobs sent to that thread.
//!
//! The namespace has no name in the file system; it lives as long as this value, its thread and
//! its sockets do, so the end of the process, whatever its cause, is also its end.

use std::{
    fs::File,
    future::Future,
    io,
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    sync::mpsc as std_mpsc,
    thread,
};

use overflow_host::netns;

use tokio::{
    sync::{mpsc, oneshot},
    task::LocalSet,
};

use crate::{LabError, error::During};

type Job = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// A network namespace and the thread that lives in it.
pub(crate) struct Namespace {
    name: &'static str,
    jobs: mpsc::UnboundedSender<Job>,
    file: File,
    inum: u32,
}

impl Namespace {
    /// Makes a namespace and its thread; `name` is the thread's name.
    pub(crate) fn create(name: &'static str) -> Result<Self, LabError> {
        let (jobs, queue) = mpsc::unbounded_channel();
        let (ready, is_ready) = std_mpsc::sync_channel(1);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || live(queue, &ready))
            .during("starting a thread")?;
        let (file, inum) = is_ready.recv().map_err(|_| LabError::ThreadEnded(name))??;
        Ok(Self { name, jobs, file, inum })
    }

    /// Inode number of the namespace, as in `/proc/PID/ns/net` and `net->ns.inum`.
    pub(crate) fn inum(&self) -> u32 {
        self.inum
    }

    /// The descriptor that refers to the namespace.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Starts `job` on the namespace's thread, beside the jobs that run there already.
    pub(crate) fn spawn<T, F, Fut>(&self, job: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        let (reply, result) = oneshot::channel();
        let boxed: Job = Box::new(move || {
            Box::pin(async move {
                // The asker may have given up; then nobody wants the answer.
                let _ = reply.send(job().await);
            })
        });
        // A dead thread drops the job and with it `reply`, which the asker sees.
        let _ = self.jobs.send(boxed);
        Pending { name: self.name, result }
    }

    /// Runs `job` on the namespace's thread and waits for it.
    pub(crate) async fn run<T, F, Fut>(&self, job: F) -> Result<T, LabError>
    where
        T: Send + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, LabError>> + 'static,
    {
        self.spawn(job).wait().await?
    }

    /// As [`run`](Self::run), for callers that are not async; it blocks the calling thread.
    pub(crate) fn run_blocking<T, F, Fut>(&self, job: F) -> Result<T, LabError>
    where
        T: Send + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, LabError>> + 'static,
    {
        // Not the oneshot's blocking_recv: that refuses to run on a runtime's worker thread.
        let (reply, result) = std_mpsc::sync_channel(1);
        let _pending = self.spawn(move || async move {
            let _ = reply.send(job().await);
        });
        result.recv().map_err(|_| LabError::ThreadEnded(self.name))?
    }
}

/// A job's answer, still to come.
pub(crate) struct Pending<T> {
    name: &'static str,
    result: oneshot::Receiver<T>,
}

impl<T> Pending<T> {
    /// Waits for the answer.
    pub(crate) async fn wait(self) -> Result<T, LabError> {
        self.result.await.map_err(|_| LabError::ThreadEnded(self.name))
    }
}

type Ready = std_mpsc::SyncSender<Result<(File, u32), LabError>>;

fn live(mut jobs: mpsc::UnboundedReceiver<Job>, ready: &Ready) {
    let runtime = match enter() {
        Ok((file, inum, runtime)) => {
            if ready.send(Ok((file, inum))).is_err() {
                return;
            }
            runtime
        }
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    LocalSet::new().block_on(&runtime, async move {
        while let Some(job) = jobs.recv().await {
            tokio::task::spawn_local(job());
        }
    });
}

fn enter() -> Result<(File, u32, tokio::runtime::Runtime), LabError> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).map_err(|errno| {
        let source = io::Error::from(errno);
        if errno == nix::errno::Errno::EPERM {
            LabError::Privilege { what: "making a network namespace", cause: source }
        } else {
            LabError::Io { what: "making a network namespace".into(), source }
        }
    })?;
    let path = netns::own_file();
    let name = path.display();
    let file = File::open(&path).during(format!("opening {name} (is /proc mounted?)"))?;
    let inum = netns::own().during(format!("reading {name}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .during("starting an async runtime")?;
    Ok((file, inum, runtime))
}
