//! The parts around a gateway under test: the ERP and the issuer, stood in for with programmable faults, and clients that
//! mean ill or are slow.

pub mod behaviour;
pub mod erp;
pub mod idp;
pub(crate) mod server;
pub mod slow;

pub use behaviour::{Behaviour, Change, State};
pub use erp::Erp;
pub use idp::Idp;
pub use slow::{Held, SlowClients};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
