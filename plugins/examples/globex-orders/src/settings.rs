use alloc::string::String;

use sluis_plugin::{Decision, Problem, config};

/// The tenant's settings: see the table at the top of the crate.
pub struct Settings {
    pub customer_prefix: String,
    pub customer_guest: Option<String>,
    pub warehouse: Option<String>,
    pub tax_account: String,
    pub shipping_account: String,
    pub fee_account: String,
    pub delivery_days: u16,
    pub async_route: String,
}

impl Settings {
    /// As the operator configured them; 500 where one of them is no number but must be.
    pub fn read() -> Result<Self, Problem> {
        let or = |key: &str, default: &str| config::get(key).unwrap_or_else(|| default.into());
        let delivery_days = config::get("delivery_days").map_or(Ok(3), |days| days.parse()).map_err(|_| {
            Decision::refuse(500, "urn:globex:misconfigured", "The plugin is misconfigured")
                .detail("the setting delivery_days must be a number from 0 to 65535")
        })?;
        Ok(Self {
            customer_prefix: or("customer_prefix", "WOO-"),
            customer_guest: config::get("customer_guest"),
            warehouse: config::get("warehouse"),
            tax_account: or("tax_account", "VAT - G"),
            shipping_account: or("shipping_account", "Freight and Forwarding Charges - G"),
            fee_account: or("fee_account", "Miscellaneous Expenses - G"),
            delivery_days,
            async_route: or("async_route", "orders-async"),
        })
    }
}
