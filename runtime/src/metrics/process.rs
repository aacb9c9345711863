//! What the operating system says of this process. Only Linux tells.

/// One look at the process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) open_files: u64,
    pub(super) max_files: u64,
    pub(super) threads: i64,
    pub(super) started_at_seconds: f64,
}

#[cfg(target_os = "linux")]
impl Process {
    /// The process as it is now; none where `/proc` cannot be read.
    pub(super) fn now() -> Option<Self> {
        use procfs::process::LimitValue;
        use procfs::{CurrentSI as _, WithCurrentSystemInfo as _};

        let read = || -> procfs::ProcResult<Self> {
            let process = procfs::process::Process::myself()?;
            let stat = process.stat()?;
            let ticks = |n: u64| n as f64 / procfs::ticks_per_second() as f64;
            let max_files = match process.limits()?.max_open_files.soft_limit {
                LimitValue::Value(n) => n,
                LimitValue::Unlimited => u64::MAX,
            };
            Ok(Self {
                cpu_seconds: ticks(stat.utime + stat.stime),
                resident_bytes: stat.rss_bytes().get(),
                virtual_bytes: stat.vsize,
                open_files: process.fd_count()? as u64,
                max_files,
                threads: stat.num_threads,
                started_at_seconds: procfs::KernelStats::current()?.btime as f64 + ticks(stat.starttime),
            })
        };
        read().inspect_err(|error| tracing::debug!(%error, "the process cannot be measured")).ok()
    }
}

#[cfg(not(target_os = "linux"))]
impl Process {
    /// Nobody tells.
    pub(super) fn now() -> Option<Self> {
        None
    }
}
