"""The tenant's settings.

| Setting | Default | |
|---|---|---|
| `customer_prefix` | `WOO-` | before the WooCommerce customer's id: the name of the `Customer` |
| `customer_guest` | none | `Customer` of orders without one; without it they are refused |
| `warehouse` | none | of every item |
| `tax_account` | `VAT - G` | `account_head` of taxes |
| `shipping_account` | `Freight and Forwarding Charges - G` | the same of shipping |
| `fee_account` | `Miscellaneous Expenses - G` | the same of fees |
| `delivery_days` | 3 | from `transaction_date` to `delivery_date` |
| `async_route` | `orders-async` | |
"""

import re
from dataclasses import dataclass

from sluis import config, refuse

MOST_DAYS = 65535
DAYS = re.compile(r"\+?0*([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Settings:
    """As the operator configured them."""

    customer_prefix: str
    customer_guest: str | None
    warehouse: str | None
    tax_account: str
    shipping_account: str
    fee_account: str
    delivery_days: int
    async_route: str

    @classmethod
    def read(cls) -> "Settings":
        """Refuses with 500 where one of them is no number but must be."""
        return cls(
            delivery_days=_days("delivery_days", "3"),
            customer_prefix=config.get("customer_prefix", "WOO-"),
            customer_guest=config.get("customer_guest"),
            warehouse=config.get("warehouse"),
            tax_account=config.get("tax_account", "VAT - G"),
            shipping_account=config.get("shipping_account", "Freight and Forwarding Charges - G"),
            fee_account=config.get("fee_account", "Miscellaneous Expenses - G"),
            async_route=config.get("async_route", "orders-async"),
        )


def _days(key: str, otherwise: str) -> int:
    digits = DAYS.fullmatch(config.get(key, otherwise))
    if digits is None or int(digits[1]) > MOST_DAYS:
        detail = f"the setting {key} must be a number from 0 to {MOST_DAYS}"
        raise refuse(500, "urn:vandelay:misconfigured", "The plugin is misconfigured", detail)
    return int(digits[1])
