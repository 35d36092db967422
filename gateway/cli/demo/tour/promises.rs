//! What the gateway promises beyond one request and one answer: what is sent again is done once, and what comes while
//! the ERP is down is kept.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use axum::http::header::{self, HeaderName};

use super::{DELIVERY_DEADLINE, POLL_PAUSE, Row, Tour};
use crate::client::{ClientError, Reply};
use crate::demo::cases::{Case, Expect, Key};
use crate::demo::fault::{Fault, Mode};

/// The ERP has this long to go down, and to be back.
const SWITCH_DEADLINE: Duration = Duration::from_secs(10);
/// It comes back by itself after this, should the tour never say so.
const LONGEST_OUTAGE_MS: u64 = 60_000;

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What earlier rows leave for later ones.
#[derive(Debug, Default)]
pub struct Memory {
    /// URL of the first event, which is acme's.
    pub event: Option<String>,
    /// The first answer under each key.
    answers: HashMap<&'static str, Reply>,
}

impl Tour<'_> {
    /// The text of a case's key; another one in every run, for a ledger that is kept knows those of the run before.
    pub fn key(&self, case: &Case) -> Option<String> {
        match case.key {
            Key::None => None,
            Key::New(name) | Key::Used(name) => Some(format!("{}-{name}", self.run)),
        }
    }

    /// Remembers the first answer under a key, and holds a later one against it. `before` is the number of documents that
    /// the ERP held before the request.
    pub async fn once(
        &self,
        case: &Case,
        reply: Reply,
        before: u64,
        row: &mut Row,
        memory: &mut Memory,
    ) -> Result<(), String> {
        let name = match case.key {
            Key::None => return Ok(()),
            Key::New(name) => {
                memory.answers.insert(name, reply);
                return Ok(());
            }
            Key::Used(name) => name,
        };
        let after = self.count().await?;
        if after != before {
            return Err(format!("the ERP held {before} documents before the repetition, and holds {after} after it"));
        }
        if matches!(case.expect, Expect::Filed { .. }) {
            same(&reply, memory.answers.get(name).ok_or("there is no first answer to compare")?)?;
            let kept = if case.is_kept() {
                "same Location; the ERP holds it once"
            } else {
                "same answer; the ERP was asked once"
            };
            row.remark = kept.to_owned();
        }
        Ok(())
    }

    /// Sends a request while the ERP is down, and has it back once the event's delivery was tried in vain.
    pub async fn send_while_down(&self, case: &Case) -> Result<Reply, String> {
        self.switch(Mode::Down).await?;
        let tried = async {
            let reply = self.send(case).await?;
            let resource = self.accepted(&reply, self.base(case.tls))?;
            self.tried(case, &resource).await?;
            Ok(reply)
        }
        .await;
        self.switch(Mode::Ok).await?;
        tried
    }

    /// Asks for the event until one attempt to deliver it has failed.
    async fn tried(&self, case: &Case, resource: &str) -> Result<(), String> {
        let begin = Instant::now();
        let token = self.credential(case).await?;
        while self.event(resource, token.clone()).await?["deliveries"][0]["last_error"].is_null() {
            if begin.elapsed() > DELIVERY_DEADLINE {
                return Err(format!("no delivery was tried within {} s", DELIVERY_DEADLINE.as_secs()));
            }
            tokio::time::sleep(POLL_PAUSE).await;
        }
        Ok(())
    }

    /// Takes the ERP down or has it back; returns once that shows.
    async fn switch(&self, mode: Mode) -> Result<(), String> {
        let for_ms = (mode == Mode::Down).then_some(LONGEST_OUTAGE_MS);
        self.erp_faults.set(Fault { mode, for_ms, ..Fault::default() })?;
        let begin = Instant::now();
        loop {
            let seen = self.client.get(format!("{}/_stats", self.addresses.erp)).await;
            match (mode, seen) {
                (Mode::Down, Err(ClientError::Refused(_))) | (Mode::Ok, Ok(_)) => return Ok(()),
                _ if begin.elapsed() > SWITCH_DEADLINE => {
                    self.erp_faults.set(Fault::default())?;
                    return Err(format!("the ERP is not {mode:?} after {} s", SWITCH_DEADLINE.as_secs()));
                }
                _ => tokio::time::sleep(POLL_PAUSE).await,
            }
        }
    }
}

/// Whether an answer is the first one, told again.
fn same(reply: &Reply, first: &Reply) -> Result<(), String> {
    if reply.field(REPLAYED) != Some("true") {
        return Err("the answer does not say that it is told again".to_owned());
    }
    let fields = [header::LOCATION, header::CONTENT_TYPE];
    let differs = fields.into_iter().find(|name| reply.field(name.clone()) != first.field(name.clone()));
    if let Some(name) = differs {
        return Err(format!("{name} is {:?}, and was {:?}", reply.field(name.clone()), first.field(name.clone())));
    }
    if (reply.status, &reply.body) != (first.status, &first.body) {
        return Err(format!("the answer is {} and was {}, or has another body", reply.status, first.status));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use axum::body::Bytes;
    use axum::http::{HeaderMap, HeaderValue, StatusCode, Version};

    fn reply(status: StatusCode, fields: [(HeaderName, &'static str); 2], body: &'static str) -> Reply {
        let fields = fields.map(|(name, value)| (name, HeaderValue::from_static(value)));
        Reply {
            status,
            version: Version::HTTP_11,
            headers: HeaderMap::from_iter(fields),
            body: Bytes::from_static(body.as_bytes()),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn a_repetition_that_differs_anywhere_is_noticed() {
        let first = reply(StatusCode::ACCEPTED, [(REPLAYED, "true"), (header::LOCATION, "/v1/events/1")], "{}");
        assert_eq!(same(&first, &first), Ok(()));
        for (status, replayed, location, body) in [
            (StatusCode::CREATED, "true", "/v1/events/1", "{}"),
            (StatusCode::ACCEPTED, "false", "/v1/events/1", "{}"),
            (StatusCode::ACCEPTED, "true", "/v1/events/2", "{}"),
            (StatusCode::ACCEPTED, "true", "/v1/events/1", "{ }"),
        ] {
            let again = reply(status, [(REPLAYED, replayed), (header::LOCATION, location)], body);
            assert!(same(&again, &first).is_err(), "{again:?}");
        }
    }
}
