use alloc::format;
use alloc::string::String;

use sluis_plugin::{Decision, Problem, config};

/// The tenant's settings: see the table at the top of the crate.
pub struct Settings {
    pub card_code_prefix: String,
    pub card_code_guest: Option<String>,
    pub warehouse: Option<String>,
    pub tax_code: Option<String>,
    pub tax_code_exempt: Option<String>,
    pub freight_code: u16,
    pub tip_code: u16,
    pub due_days: u16,
    pub async_route: String,
}

impl Settings {
    /// As the operator configured them; 500 where one of them is no number but must be.
    pub fn read() -> Result<Self, Problem> {
        Ok(Self {
            card_code_prefix: config::get("card_code_prefix").unwrap_or_else(|| "C".into()),
            card_code_guest: config::get("card_code_guest"),
            warehouse: config::get("warehouse"),
            tax_code: config::get("tax_code"),
            tax_code_exempt: config::get("tax_code_exempt"),
            freight_code: number("freight_code", 1)?,
            tip_code: number("tip_code", 2)?,
            due_days: number("due_days", 14)?,
            async_route: config::get("async_route").unwrap_or_else(|| "orders-async".into()),
        })
    }
}

fn number(key: &str, default: u16) -> Result<u16, Problem> {
    config::get(key).map_or(Ok(default), |value| value.parse()).map_err(|_| {
        Decision::refuse(500, "urn:acme:misconfigured", "The plugin is misconfigured")
            .detail(format!("the setting {key} must be a number from 0 to 65535"))
    })
}
