//! The schedule of retries: pure, jitter and time are arguments.

use std::time::Duration;

/// When a delivery is tried again, and when it is given up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetrySettings {
    /// First wait.
    pub initial: Duration,
    /// Growth of the wait per attempt.
    pub factor: f64,
    /// Longest wait.
    pub max: Duration,
    /// Dead when older than this; binds before `max_attempts` does.
    pub max_age: Duration,
    /// Safety net.
    pub max_attempts: u32,
}

/// A `Retry-After` longer than this counts as this.
pub const RETRY_AFTER_CAP: Duration = Duration::from_secs(24 * 60 * 60);

/// What kind of failure an attempt met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Likely to pass: no connection, a server's fault.
    Transient,
    /// The sink asked for patience.
    Throttled,
    /// The sink refuses this event, and will again.
    Permanent,
    /// The request was sent and its answer never came: the sink may have done the work.
    Ambiguous,
    /// The event itself breaks what handles it.
    Poison,
}

impl ErrorClass {
    /// The word used in the API, in logs and in metrics.
    pub fn label(self) -> &'static str {
        match self {
            ErrorClass::Transient => "transient",
            ErrorClass::Throttled => "throttled",
            ErrorClass::Permanent => "permanent",
            ErrorClass::Ambiguous => "ambiguous",
            ErrorClass::Poison => "poison",
        }
    }
}

/// How an attempt failed below HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransportFault {
    /// No connection: name, TCP or TLS.
    Connect,
    /// The whole attempt took too long.
    Timeout,
    /// The connection broke after the request was on its way.
    Broken,
    /// The answer is not HTTP.
    Malformed,
}

impl TransportFault {
    /// The word kept as the error's kind.
    pub fn label(self) -> &'static str {
        match self {
            TransportFault::Connect => "connect",
            TransportFault::Timeout => "timeout",
            TransportFault::Broken => "connection_broken",
            TransportFault::Malformed => "malformed_answer",
        }
    }

    /// Only a connection that never was proves that the sink did nothing.
    pub fn class(self) -> ErrorClass {
        match self {
            TransportFault::Connect => ErrorClass::Transient,
            TransportFault::Timeout | TransportFault::Broken | TransportFault::Malformed => ErrorClass::Ambiguous,
        }
    }
}

/// The class of an HTTP answer, none where it confirms (2xx). Redirects are not followed; as they come from a sink that
/// moves or is under maintenance, they are tried again.
pub fn classify_status(status: u16, retry_after: bool) -> Option<ErrorClass> {
    match status {
        200..=299 => None,
        429 => Some(ErrorClass::Throttled),
        503 if retry_after => Some(ErrorClass::Throttled),
        408 | 425 => Some(ErrorClass::Transient),
        400..=499 => Some(ErrorClass::Permanent),
        _ => Some(ErrorClass::Transient),
    }
}

/// Why a delivery was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeadReason {
    /// The sink will never take it.
    PermanentError,
    /// Older than `max_age`.
    MaxAge,
    /// `max_attempts` used up.
    RetriesExhausted,
    /// The event breaks what handles it, or its stored bytes no longer match their digest.
    Poison,
}

impl DeadReason {
    /// The word used in the API, in logs and in metrics.
    pub fn label(self) -> &'static str {
        match self {
            DeadReason::PermanentError => "permanent_error",
            DeadReason::MaxAge => "max_age",
            DeadReason::RetriesExhausted => "retries_exhausted",
            DeadReason::Poison => "poison",
        }
    }
}

/// A failed attempt, as the schedule needs to know it. Times are milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FailedAttempt {
    /// What kind of failure it was.
    pub class: ErrorClass,
    /// Number of this attempt, from 1.
    pub attempt: u32,
    /// When the event was accepted.
    pub accepted_at: u64,
    /// When the attempt ended.
    pub now: u64,
    /// What the sink asked for.
    pub retry_after: Option<Duration>,
    /// Uniform in [0, 1).
    pub jitter: f64,
    /// The order of its key matters more than its end: nothing but age and attempts gives it up, for what follows it
    /// must not be delivered before it.
    pub block: bool,
}

/// What follows from a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again at this time, milliseconds since the epoch.
    Retry(u64),
    /// Give up.
    Dead(DeadReason),
}

impl RetrySettings {
    /// The wait after attempt number `attempt` (from 1), with equal jitter: half of the base, and up to half more.
    pub fn delay(&self, attempt: u32, jitter: f64) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let max = self.max.as_secs_f64();
        let base = self.initial.as_secs_f64() * self.factor.max(1.0).powi(exponent);
        // `min` also turns the infinity of a very late attempt into `max`.
        let base = base.min(max);
        Duration::from_secs_f64(base / 2.0 + base / 2.0 * jitter.clamp(0.0, 1.0))
    }

    /// When to try again, or why not. The last attempt is moved forward to the moment where `max_age` is reached, unless
    /// the sink asked to be left alone for longer.
    pub fn next(&self, failed: FailedAttempt) -> Next {
        match failed.class {
            ErrorClass::Permanent | ErrorClass::Poison if failed.block => {}
            ErrorClass::Permanent => return Next::Dead(DeadReason::PermanentError),
            ErrorClass::Poison => return Next::Dead(DeadReason::Poison),
            ErrorClass::Transient | ErrorClass::Throttled | ErrorClass::Ambiguous => {}
        }
        let end = failed.accepted_at.saturating_add(millis(self.max_age));
        if failed.now >= end {
            return Next::Dead(DeadReason::MaxAge);
        }
        if failed.attempt >= self.max_attempts {
            return Next::Dead(DeadReason::RetriesExhausted);
        }
        let floor = failed.now.saturating_add(millis(failed.retry_after.unwrap_or_default().min(RETRY_AFTER_CAP)));
        if floor > end {
            return Next::Dead(DeadReason::MaxAge);
        }
        let due = failed.now.saturating_add(millis(self.delay(failed.attempt, failed.jitter)));
        Next::Retry(due.max(floor).min(end))
    }

    /// Until when at most a retry may be put off for reasons that are not its own: between half of the longest wait and
    /// all of it, so that many do not go at once, and not beyond `max_age`.
    pub fn latest(&self, accepted_at: u64, now: u64, jitter: f64) -> u64 {
        let wait = self.max.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        now.saturating_add(millis(wait)).min(accepted_at.saturating_add(millis(self.max_age)))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ERP: RetrySettings = RetrySettings {
        initial: Duration::from_secs(1),
        factor: 2.0,
        max: Duration::from_secs(900),
        max_age: Duration::from_secs(86_400),
        max_attempts: 200,
    };

    fn failed(class: ErrorClass, attempt: u32, now: u64) -> FailedAttempt {
        FailedAttempt { class, attempt, accepted_at: 0, now, retry_after: None, jitter: 1.0, block: false }
    }

    #[test]
    fn the_wait_doubles_up_to_its_cap() {
        let waits: Vec<u64> = (1..=12).map(|n| ERP.delay(n, 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        assert_eq!(ERP.delay(3, 0.0), Duration::from_secs(2));
        assert_eq!(ERP.delay(u32::MAX, 0.5), Duration::from_secs(675));
    }

    #[test]
    fn age_binds_before_attempts_do() {
        let (mut now, mut attempts) = (0, 0);
        let reason = loop {
            attempts += 1;
            match ERP.next(failed(ErrorClass::Transient, attempts, now)) {
                Next::Retry(due) => now = due,
                Next::Dead(reason) => break reason,
            }
        };
        assert_eq!(reason, DeadReason::MaxAge);
        assert_eq!(now, 86_400_000, "the last attempt falls on the last moment");
        assert!((100..=110).contains(&attempts), "{attempts}");
    }

    #[test]
    fn retry_after_is_a_floor_with_a_cap() {
        let asked = |secs, now| FailedAttempt {
            retry_after: Some(Duration::from_secs(secs)),
            ..failed(ErrorClass::Throttled, 1, now)
        };
        assert_eq!(ERP.next(asked(120, 0)), Next::Retry(120_000));
        assert_eq!(ERP.next(asked(0, 0)), Next::Retry(1_000));
        let week = RetrySettings { max_age: Duration::from_secs(7 * 86_400), ..ERP };
        assert_eq!(week.next(asked(1_000_000, 0)), Next::Retry(86_400_000));
        assert_eq!(ERP.next(asked(86_400, 1)), Next::Dead(DeadReason::MaxAge));
    }

    #[test]
    fn permanent_and_poison_end_it_at_once() {
        assert_eq!(ERP.next(failed(ErrorClass::Permanent, 1, 0)), Next::Dead(DeadReason::PermanentError));
        assert_eq!(ERP.next(failed(ErrorClass::Poison, 1, 0)), Next::Dead(DeadReason::Poison));
        assert_eq!(ERP.next(failed(ErrorClass::Ambiguous, 200, 0)), Next::Dead(DeadReason::RetriesExhausted));
    }

    #[test]
    fn what_blocks_its_key_is_tried_until_it_is_too_old() {
        for class in [ErrorClass::Permanent, ErrorClass::Poison] {
            let blocking = |now| FailedAttempt { block: true, ..failed(class, 1, now) };
            assert_eq!(ERP.next(blocking(0)), Next::Retry(1_000));
            assert_eq!(ERP.next(blocking(86_400_000)), Next::Dead(DeadReason::MaxAge));
        }
    }

    #[test]
    fn statuses_have_their_class() {
        let table = [
            (200, false, None),
            (204, false, None),
            (302, false, Some(ErrorClass::Transient)),
            (400, false, Some(ErrorClass::Permanent)),
            (404, false, Some(ErrorClass::Permanent)),
            (408, false, Some(ErrorClass::Transient)),
            (410, false, Some(ErrorClass::Permanent)),
            (422, true, Some(ErrorClass::Permanent)),
            (425, false, Some(ErrorClass::Transient)),
            (429, false, Some(ErrorClass::Throttled)),
            (500, false, Some(ErrorClass::Transient)),
            (503, false, Some(ErrorClass::Transient)),
            (503, true, Some(ErrorClass::Throttled)),
        ];
        for (status, retry_after, class) in table {
            assert_eq!(classify_status(status, retry_after), class, "{status}");
        }
    }

    proptest! {
        #[test]
        fn a_retry_is_later_than_now_and_never_past_the_end(
            attempt in 1u32..10_000,
            now in 0u64..200_000_000,
            asked in proptest::option::of(0u64..200_000),
            jitter in 0.0f64..1.0,
        ) {
            let failed = FailedAttempt {
                retry_after: asked.map(Duration::from_secs),
                jitter,
                ..failed(ErrorClass::Transient, attempt, now)
            };
            match ERP.next(failed) {
                Next::Retry(due) => {
                    prop_assert!(due > now && due <= 86_400_000);
                    prop_assert!(attempt < ERP.max_attempts);
                    if let Some(secs) = asked {
                        prop_assert!(due >= now + secs.min(86_400) * 1_000);
                    }
                }
                Next::Dead(DeadReason::MaxAge) => prop_assert!(now + asked.unwrap_or(0).min(86_400) * 1_000 >= 86_400_000),
                Next::Dead(reason) => prop_assert_eq!(reason, DeadReason::RetriesExhausted),
            }
        }

        #[test]
        fn jitter_stays_in_the_upper_half(attempt in 1u32..64, jitter in 0.0f64..1.0) {
            let (base, wait) = (ERP.delay(attempt, 1.0), ERP.delay(attempt, jitter));
            prop_assert!(wait <= base && wait >= base / 2);
        }
    }
}
