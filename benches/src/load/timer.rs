//! A timer that is exact to microseconds: a runtime's own are a millisecond coarse.

#[cfg(target_os = "linux")]
pub use linux::Timer;
#[cfg(not(target_os = "linux"))]
pub use other::Timer;

/// A kernel timer that the runtime waits for beside its sockets.
#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::{Duration, Instant};

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    pub struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        /// Must be within a runtime.
        pub fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            #[allow(
                deprecated,
                reason = "its successor is unsafe for descriptors that may be closed; this one is owned"
            )]
            let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
            Ok(Timer(timer))
        }

        /// Ends at this moment, or, seldom, before it.
        pub async fn until(&self, moment: Instant) -> io::Result<()> {
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            let left = Timespec::try_from(left.max(Duration::from_nanos(1))).unwrap_or(zero);
            let once = Itimerspec { it_interval: zero, it_value: left };
            timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
            // Setting it anew forgets the expiry, so there is nothing to read.
            self.0.readable().await?.clear_ready();
            Ok(())
        }
    }
}

/// The runtime's timer for all but the last millisecond, which is waited for in turn with everything else.
#[cfg(not(target_os = "linux"))]
mod other {
    use std::io;
    use std::time::{Duration, Instant};

    pub struct Timer;

    impl Timer {
        pub fn new() -> io::Result<Self> {
            Ok(Timer)
        }

        /// Ends at this moment, or, seldom, before it.
        pub async fn until(&self, moment: Instant) -> io::Result<()> {
            let left = moment.saturating_duration_since(Instant::now());
            match left.checked_sub(Duration::from_millis(2)) {
                Some(most) => tokio::time::sleep(most).await,
                None => tokio::task::yield_now().await,
            }
            Ok(())
        }
    }
}
