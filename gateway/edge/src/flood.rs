//! Floods of refusals. Whoever is told that a tenant's share is used up and asks again at once, on many connections, takes
//! the CPU time that others' requests need. So the first refusals of a second are told at once, and the others a little
//! later: a client that waits for its answers before it asks again then asks less often.

use std::time::Duration;

use sluis_model::limits::Rate;
use sluis_model::refusal::Refusal;

/// Refusals a second that a tenant is told at once, and as many at one moment.
pub const AT_ONCE: u32 = 200;
/// How long the others wait.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits, where the tenant has been refused often. `refusals` are those of the tenant, at [`AT_ONCE`]; `now` is monotonic
/// nanoseconds.
pub async fn slow_down(refusal: &Refusal, refusals: &Rate, now: u64) {
    let share_is_used_up = matches!(refusal, Refusal::RateLimited(_) | Refusal::TenantBusy);
    if share_is_used_up && refusals.try_acquire(now).is_err() {
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_refusals_of_a_second_are_told_at_once() {
        let refusals = Rate::new(AT_ONCE, AT_ONCE);
        let began = tokio::time::Instant::now();
        let after = |times: u32| began + PAUSE * times;
        for _ in 0..AT_ONCE {
            slow_down(&Refusal::TenantBusy, &refusals, 0).await;
        }
        assert_eq!(tokio::time::Instant::now(), after(0));
        slow_down(&Refusal::RateLimited(Duration::from_secs(1)), &refusals, 0).await;
        slow_down(&Refusal::TenantBusy, &refusals, 0).await;
        assert_eq!(tokio::time::Instant::now(), after(2));
        // What is no matter of a tenant's share is told at once, and so is what comes a second later.
        slow_down(&Refusal::Overloaded, &refusals, 0).await;
        slow_down(&Refusal::TenantBusy, &refusals, 1_000_000_000).await;
        assert_eq!(tokio::time::Instant::now(), after(2));
    }
}
