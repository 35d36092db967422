//! An accepted event and the life of each of its deliveries, as a state machine.

use std::sync::Arc;

use bytes::Bytes;

/// An event on its way into the ledger.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// UUIDv7, made by the caller.
    pub id: uuid::Uuid,
    /// Whose it is; nobody else ever sees it.
    pub tenant: Arc<str>,
    /// The route that it came by.
    pub route: Arc<str>,
    /// CloudEvents `type`.
    pub event_type: Arc<str>,
    /// Ordering key, where the plugin gave one.
    pub key: Option<String>,
    /// Media type of `body`.
    pub content_type: String,
    /// What the sink gets.
    pub body: Bytes,
    /// Names of the sinks; never empty.
    pub sinks: Vec<Arc<str>>,
    /// Correlation id of the request.
    pub correlation_id: Arc<str>,
    /// W3C `traceparent` of the request.
    pub traceparent: Option<Arc<str>>,
    /// Milliseconds since the epoch.
    pub accepted_at: u64,
}

/// Where one delivery of an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// Due as soon as its sink has room.
    Ready,
    /// An attempt is under way.
    Leased,
    /// The last attempt failed; due again later.
    RetryWait,
    /// Waits for something that is not its fault (open breaker, pause, maintenance): consumes no attempt.
    Held,
    /// Waits behind another event of its ordering key.
    Blocked,
    /// The sink confirmed.
    Delivered,
    /// Given up; kept for people.
    Dead,
}

impl DeliveryState {
    /// Every state, in the order of the numbers that a store keeps for them.
    pub const ALL: [DeliveryState; 7] = [
        DeliveryState::Ready,
        DeliveryState::Leased,
        DeliveryState::RetryWait,
        DeliveryState::Held,
        DeliveryState::Blocked,
        DeliveryState::Delivered,
        DeliveryState::Dead,
    ];

    /// The word used in the API, in logs and in metrics.
    pub fn label(self) -> &'static str {
        match self {
            DeliveryState::Ready => "ready",
            DeliveryState::Leased => "leased",
            DeliveryState::RetryWait => "retry_wait",
            DeliveryState::Held => "held",
            DeliveryState::Blocked => "blocked",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Dead => "dead",
        }
    }

    /// Whether nothing will happen to the delivery any more by itself.
    pub fn is_final(self) -> bool {
        matches!(self, DeliveryState::Delivered | DeliveryState::Dead)
    }

    /// Whether the delivery waits for its due time, and a worker may take it then.
    pub fn is_waiting(self) -> bool {
        matches!(self, DeliveryState::Ready | DeliveryState::RetryWait)
    }
}

/// What may happen to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    /// A worker takes it for one attempt.
    Lease,
    /// The sink confirmed the attempt.
    Confirm,
    /// The attempt failed, another one is due later.
    Retry,
    /// The attempt's end is unknown: the process that held the lease is gone.
    Interrupt,
    /// No further attempt: the failure is permanent, or age or attempts are used up.
    GiveUp,
    /// Something that is not the delivery's fault stands in the way.
    Hold,
    /// What stood in the way is gone.
    Release,
    /// An earlier event of its ordering key goes first.
    Block,
    /// The earlier event is out of the way.
    Unblock,
}

impl Input {
    /// Every input.
    pub const ALL: [Input; 9] = [
        Input::Lease,
        Input::Confirm,
        Input::Retry,
        Input::Interrupt,
        Input::GiveUp,
        Input::Hold,
        Input::Release,
        Input::Block,
        Input::Unblock,
    ];
}

/// A transition that the state machine does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {} delivery cannot take {input:?}", state.label())]
pub struct IllegalTransition {
    /// Where the delivery stood.
    pub state: DeliveryState,
    /// What was asked of it.
    pub input: Input,
}

/// The state after `input`. A delivery that waits for a retry is leased without a stop at `Ready`: that its time has
/// come is what makes it ready.
pub fn next(state: DeliveryState, input: Input) -> Result<DeliveryState, IllegalTransition> {
    use DeliveryState::{Blocked, Dead, Delivered, Held, Leased, Ready, RetryWait};
    match (state, input) {
        (Ready | RetryWait, Input::Lease) => Ok(Leased),
        (Leased, Input::Confirm) => Ok(Delivered),
        (Leased, Input::Retry) => Ok(RetryWait),
        (Leased, Input::Interrupt) => Ok(Ready),
        (Ready | Leased | RetryWait | Held | Blocked, Input::GiveUp) => Ok(Dead),
        (Ready | Leased | RetryWait, Input::Hold) => Ok(Held),
        (Held, Input::Release) => Ok(Ready),
        (Ready | Leased | RetryWait, Input::Block) => Ok(Blocked),
        (Blocked, Input::Unblock) => Ok(Ready),
        _ => Err(IllegalTransition { state, input }),
    }
}

/// Where an event as a whole stands; follows from its deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventState {
    /// Kept, and nothing was attempted yet.
    Accepted,
    /// At least one attempt was begun, at least one delivery is not final.
    InProgress,
    /// Every sink confirmed.
    Completed,
    /// Every delivery is final, some are dead.
    PartiallyFailed,
    /// Every delivery is dead.
    Failed,
}

impl EventState {
    /// Derives the state from (state, attempts begun) of each delivery.
    pub fn of(deliveries: impl IntoIterator<Item = (DeliveryState, u32)>) -> EventState {
        let (mut all, mut delivered, mut dead, mut begun) = (0usize, 0usize, 0usize, false);
        for (state, attempts) in deliveries {
            all += 1;
            delivered += usize::from(state == DeliveryState::Delivered);
            dead += usize::from(state == DeliveryState::Dead);
            begun |= attempts > 0 || state.is_final() || state == DeliveryState::Leased;
        }
        match (delivered, dead) {
            (d, 0) if d == all => EventState::Completed,
            (0, d) if d == all => EventState::Failed,
            (a, b) if a + b == all => EventState::PartiallyFailed,
            _ if begun => EventState::InProgress,
            _ => EventState::Accepted,
        }
    }

    /// The word used in the API.
    pub fn label(self) -> &'static str {
        match self {
            EventState::Accepted => "accepted",
            EventState::InProgress => "in_progress",
            EventState::Completed => "completed",
            EventState::PartiallyFailed => "partially_failed",
            EventState::Failed => "failed",
        }
    }

    /// Whether nothing more happens by itself.
    pub fn is_final(self) -> bool {
        matches!(self, EventState::Completed | EventState::PartiallyFailed | EventState::Failed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_input() -> impl Strategy<Value = Input> {
        proptest::sample::select(Input::ALL.to_vec())
    }

    #[test]
    fn the_journey_of_a_delivery_that_fails_once() {
        let walk = [Input::Lease, Input::Retry, Input::Lease, Input::Confirm];
        let end = walk.iter().try_fold(DeliveryState::Ready, |state, input| next(state, *input));
        assert_eq!(end, Ok(DeliveryState::Delivered));
    }

    #[test]
    fn every_state_but_the_final_ones_has_a_way_to_delivered_and_to_dead() {
        for goal in [DeliveryState::Delivered, DeliveryState::Dead] {
            for start in DeliveryState::ALL.into_iter().filter(|s| !s.is_final()) {
                let mut seen = vec![start];
                let mut at = 0;
                while at < seen.len() {
                    for input in Input::ALL {
                        if let Ok(state) = next(seen[at], input)
                            && !seen.contains(&state)
                        {
                            seen.push(state);
                        }
                    }
                    at += 1;
                }
                assert!(seen.contains(&goal), "{start:?} cannot reach {goal:?}");
            }
        }
    }

    #[test]
    fn an_event_follows_its_deliveries() {
        use DeliveryState::{Dead, Delivered, Leased, Ready, RetryWait};
        assert_eq!(EventState::of([(Ready, 0), (Ready, 0)]), EventState::Accepted);
        assert_eq!(EventState::of([(Ready, 0), (Leased, 1)]), EventState::InProgress);
        assert_eq!(EventState::of([(Delivered, 1), (RetryWait, 1)]), EventState::InProgress);
        assert_eq!(EventState::of([(Delivered, 1), (Delivered, 3)]), EventState::Completed);
        assert_eq!(EventState::of([(Delivered, 1), (Dead, 3)]), EventState::PartiallyFailed);
        assert_eq!(EventState::of([(Dead, 1)]), EventState::Failed);
    }

    proptest! {
        #[test]
        fn final_states_take_nothing(input in any_input()) {
            for state in [DeliveryState::Delivered, DeliveryState::Dead] {
                prop_assert_eq!(next(state, input), Err(IllegalTransition { state, input }));
            }
        }

        #[test]
        fn only_a_leased_delivery_is_ever_delivered_or_retried(inputs in proptest::collection::vec(any_input(), 0..60)) {
            let mut state = DeliveryState::Ready;
            for input in inputs {
                let before = state;
                let Ok(after) = next(state, input) else { continue };
                if matches!(after, DeliveryState::Delivered | DeliveryState::RetryWait) {
                    prop_assert_eq!(before, DeliveryState::Leased);
                }
                if after == DeliveryState::Leased {
                    prop_assert!(before.is_waiting());
                }
                prop_assert_ne!(before, after);
                state = after;
            }
        }
    }
}
