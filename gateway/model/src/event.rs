//! An accepted event and the life of each of its deliveries, as a state machine.

use std::sync::Arc;

use bytes::Bytes;

use crate::lane::Lane;

/// An event on its way into the ledger.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// UUIDv7, made by the caller.
    pub id: uuid::Uuid,
    /// The event that this one is sent anew for, where it is a replay.
    pub causation_id: Option<uuid::Uuid>,
    /// Whose it is; nobody else ever sees it.
    pub tenant: Arc<str>,
    /// The route that it came by.
    pub route: Arc<str>,
    /// CloudEvents `type`.
    pub event_type: Arc<str>,
    /// Ordering key, where the plugin gave one.
    pub key: Option<String>,
    /// How urgent it is.
    pub lane: Lane,
    /// CloudEvents attributes that it came with, by name, beyond those that have a field here.
    pub attributes: Vec<(String, String)>,
    /// Media type of `body`.
    pub content_type: String,
    /// What the sink gets.
    pub body: Bytes,
    /// The sinks; never empty.
    pub sinks: Vec<EventSink>,
    /// Correlation id of the request.
    pub correlation_id: Arc<str>,
    /// W3C `traceparent` of the request.
    pub traceparent: Option<Arc<str>>,
    /// Milliseconds since the epoch, by the ledger's own clock: it is due from then on, and its age counts from then.
    pub accepted_at: u64,
}

/// A sink that an event goes to, and what it keeps of the order among those of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSink {
    /// Its name.
    pub name: Arc<str>,
    /// One at a time, first come, first gone.
    pub in_order: bool,
    /// A newer one takes the place of those that wait; such a sink keeps order as well.
    pub compacts: bool,
}

impl EventSink {
    /// A sink that keeps no order.
    pub fn unordered(name: impl Into<Arc<str>>) -> EventSink {
        EventSink { name: name.into(), in_order: false, compacts: false }
    }
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
    /// A newer event of its key took its place before it was delivered.
    Superseded,
    /// An operator gave it up.
    Discarded,
    /// It was dead, and an operator had it sent anew, as another delivery.
    Replayed,
}

impl DeliveryState {
    /// Every state, in the order of the numbers that a store keeps for them.
    pub const ALL: [DeliveryState; 10] = [
        DeliveryState::Ready,
        DeliveryState::Leased,
        DeliveryState::RetryWait,
        DeliveryState::Held,
        DeliveryState::Blocked,
        DeliveryState::Delivered,
        DeliveryState::Dead,
        DeliveryState::Superseded,
        DeliveryState::Discarded,
        DeliveryState::Replayed,
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
            DeliveryState::Superseded => "superseded",
            DeliveryState::Discarded => "discarded",
            DeliveryState::Replayed => "replayed",
        }
    }

    /// Whether nothing will happen to the delivery any more by itself. An operator may still discard or replay a dead one.
    pub fn is_final(self) -> bool {
        use DeliveryState::{Dead, Delivered, Discarded, Replayed, Superseded};
        matches!(self, Delivered | Dead | Superseded | Discarded | Replayed)
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
    /// The attempt was not begun after all: nothing was asked of the sink.
    Return,
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
    /// A newer event of its key makes it needless.
    Supersede,
    /// An operator gives it up.
    Discard,
    /// An operator has it sent anew, as another delivery.
    Replay,
}

impl Input {
    /// Every input.
    pub const ALL: [Input; 13] = [
        Input::Lease,
        Input::Confirm,
        Input::Retry,
        Input::Interrupt,
        Input::Return,
        Input::GiveUp,
        Input::Hold,
        Input::Release,
        Input::Block,
        Input::Unblock,
        Input::Supersede,
        Input::Discard,
        Input::Replay,
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

/// The state after `input`.
///
/// - A delivery that waits for a retry is leased without a stop at `Ready`: that its time has come is what makes it
///   ready.
/// - A blocked delivery cannot be held. Released, it would be ready, and overtake the event that it waits behind.
/// - A leased delivery is neither superseded nor discarded: its sink may be at work on it, and only the end of the
///   attempt tells.
pub fn next(state: DeliveryState, input: Input) -> Result<DeliveryState, IllegalTransition> {
    use DeliveryState::{Blocked, Dead, Delivered, Discarded, Held, Leased, Ready, Replayed, RetryWait, Superseded};
    match (state, input) {
        (Ready | RetryWait, Input::Lease) => Ok(Leased),
        (Leased, Input::Confirm) => Ok(Delivered),
        (Leased, Input::Retry) => Ok(RetryWait),
        (Leased, Input::Interrupt | Input::Return) => Ok(Ready),
        (Ready | Leased | RetryWait | Held | Blocked, Input::GiveUp) => Ok(Dead),
        (Ready | Leased | RetryWait, Input::Hold) => Ok(Held),
        (Held, Input::Release) => Ok(Ready),
        (Ready | Leased | RetryWait, Input::Block) => Ok(Blocked),
        (Blocked, Input::Unblock) => Ok(Ready),
        (Ready | RetryWait | Held | Blocked, Input::Supersede) => Ok(Superseded),
        (Ready | RetryWait | Held | Blocked | Dead, Input::Discard) => Ok(Discarded),
        (Dead, Input::Replay) => Ok(Replayed),
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
    /// Every sink confirmed; what was superseded, discarded or replayed does not count, here and in the next two.
    Completed,
    /// Every delivery is final, some are dead.
    PartiallyFailed,
    /// Every delivery is dead.
    Failed,
    /// Newer events took the place of every delivery.
    Superseded,
    /// Operators gave up what newer events did not take the place of.
    Discarded,
    /// It was sent anew with another body, as an event of its own, and nothing else is left to do for it.
    Replayed,
}

impl EventState {
    /// Derives the state from (state, attempts begun) of each delivery. Superseded, discarded and replayed ones say
    /// nothing about completion where there are others.
    pub fn of(deliveries: impl IntoIterator<Item = (DeliveryState, u32)>) -> EventState {
        use DeliveryState::{Dead, Delivered, Discarded, Leased, Replayed, Superseded};
        let (mut count, mut begun) = ([0usize; DeliveryState::ALL.len()], false);
        for (state, attempts) in deliveries {
            count[state as usize] += 1;
            begun |= attempts > 0 || matches!(state, Leased | Delivered | Dead);
        }
        let any = |state: DeliveryState| count[state as usize] > 0;
        match (any(Delivered), any(Dead)) {
            _ if DeliveryState::ALL.into_iter().any(|state| any(state) && !state.is_final()) => match begun {
                true => EventState::InProgress,
                false => EventState::Accepted,
            },
            (true, true) => EventState::PartiallyFailed,
            (false, true) => EventState::Failed,
            (false, false) if any(Replayed) => EventState::Replayed,
            (false, false) if any(Discarded) => EventState::Discarded,
            (false, false) if any(Superseded) => EventState::Superseded,
            (_, false) => EventState::Completed,
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
            EventState::Superseded => "superseded",
            EventState::Discarded => "discarded",
            EventState::Replayed => "replayed",
        }
    }

    /// Whether nothing more happens by itself.
    pub fn is_final(self) -> bool {
        !matches!(self, EventState::Accepted | EventState::InProgress)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WITHDRAWN: [DeliveryState; 3] =
        [DeliveryState::Superseded, DeliveryState::Discarded, DeliveryState::Replayed];

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
    fn the_journeys_that_an_operator_or_a_newer_event_ends() {
        use DeliveryState::{Blocked, Dead, Discarded, Held, Leased, Ready, Replayed, RetryWait, Superseded};
        for state in DeliveryState::ALL {
            let after = |input| next(state, input).ok();
            let waits = [Ready, RetryWait, Held, Blocked].contains(&state);
            assert_eq!(after(Input::Supersede), waits.then_some(Superseded), "{state:?}");
            assert_eq!(after(Input::Discard), (waits || state == Dead).then_some(Discarded), "{state:?}");
            assert_eq!(after(Input::Replay), (state == Dead).then_some(Replayed), "{state:?}");
            assert_eq!(after(Input::Hold), [Ready, RetryWait, Leased].contains(&state).then_some(Held), "{state:?}");
        }
    }

    #[test]
    fn every_state_but_the_final_ones_has_a_way_to_every_final_one() {
        for goal in DeliveryState::ALL.into_iter().filter(|s| s.is_final()) {
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

    #[test]
    fn what_was_withdrawn_says_nothing_unless_it_is_all_there_is() {
        use DeliveryState::{Dead, Delivered, Discarded, Ready, Replayed, Superseded};
        assert_eq!(EventState::of([(Superseded, 0), (Ready, 0)]), EventState::Accepted);
        assert_eq!(EventState::of([(Superseded, 2), (Ready, 0)]), EventState::InProgress);
        assert_eq!(EventState::of([(Superseded, 0), (Superseded, 1)]), EventState::Superseded);
        assert_eq!(EventState::of([(Discarded, 0), (Discarded, 1)]), EventState::Discarded);
        assert_eq!(EventState::of([(Superseded, 0), (Discarded, 1)]), EventState::Discarded);
        assert_eq!(EventState::of([(Replayed, 3)]), EventState::Replayed);
        assert_eq!(EventState::of([(Replayed, 3), (Discarded, 1)]), EventState::Replayed);
        assert_eq!(EventState::of([(Replayed, 3), (Delivered, 1)]), EventState::Completed);
        assert_eq!(EventState::of([(Discarded, 3), (Dead, 1)]), EventState::Failed);
    }

    fn any_deliveries() -> impl Strategy<Value = Vec<(DeliveryState, u32)>> {
        proptest::collection::vec((proptest::sample::select(DeliveryState::ALL.to_vec()), 0u32..3), 1..6)
    }

    proptest! {
        #[test]
        fn final_states_take_nothing_but_what_an_operator_does_to_a_dead_one(input in any_input()) {
            for state in DeliveryState::ALL.into_iter().filter(|s| s.is_final()) {
                match next(state, input) {
                    Ok(after) => {
                        prop_assert!(state == DeliveryState::Dead && [Input::Discard, Input::Replay].contains(&input));
                        prop_assert!(after.is_final());
                    }
                    refused => prop_assert_eq!(refused, Err(IllegalTransition { state, input })),
                }
            }
        }

        #[test]
        fn an_event_is_final_when_all_its_deliveries_are(deliveries in any_deliveries()) {
            let state = EventState::of(deliveries.clone());
            prop_assert_eq!(state.is_final(), deliveries.iter().all(|(state, _)| state.is_final()));
        }

        #[test]
        fn withdrawn_deliveries_change_nothing_beside_others(
            deliveries in any_deliveries(),
            withdrawn in proptest::sample::subsequence(WITHDRAWN.to_vec(), 0..=3),
        ) {
            let others: Vec<_> = deliveries.into_iter().filter(|(state, _)| !WITHDRAWN.contains(state)).collect();
            prop_assume!(!others.is_empty());
            let all = withdrawn.into_iter().map(|state| (state, 0)).chain(others.clone());
            prop_assert_eq!(EventState::of(all), EventState::of(others));
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
