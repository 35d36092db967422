//! The tenants' state, kept in the ledger's store.

use sluis_model::kv::{Answering, Edit, Edited, Kv, KvFault, check_key};

use crate::error::ReadError;
use crate::ledger::Ledger;

impl Kv for Ledger {
    fn get<'a>(&'a self, tenant: &'a str, key: &'a str) -> Answering<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            check_key(key)?;
            let entry = self.store.kv_get(tenant, key, self.clock.now()).await;
            Ok(entry.map_err(|_: ReadError| KvFault::Unavailable)?.map(|entry| entry.value))
        })
    }

    fn edit<'a>(&'a self, tenant: &'a str, key: &'a str, edit: Edit, quota: u64) -> Answering<'a, Edited> {
        Box::pin(async move {
            check_key(key)?;
            self.store.kv_edit(tenant, key, edit, quota, self.clock.now()).await
        })
    }
}
