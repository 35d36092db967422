//! What is sent: tenants with their weights, tokens good and bad, bodies, idempotency keys.
