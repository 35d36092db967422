// What the operator can set for the tenant.
//
// | Setting | Default | |
// |---|---|---|
// | `card_code_prefix` | `C` | before the Shopify customer's id; both together have at most 15 characters |
// | `card_code_guest` | none | business partner of orders without customer; without it they are refused |
// | `warehouse` | none | `WarehouseCode` of every line |
// | `tax_code`, `tax_code_exempt` | none | `TaxCode` of what is taxed, and of what is not |
// | `freight_code`, `tip_code` | 1, 2 | `ExpenseCode` of shipping and of tips |
// | `due_days` | 14 | from `DocDate` to `DocDueDate` |
// | `async_route` | `orders-async` | |

import { get } from "../vendor/sluis/config.js";
import { refuse } from "../vendor/sluis/sluis.js";

/** The settings as they are configured; 500 where one of them is no number but must be. */
export function readSettings() {
    return {
        cardCodePrefix: get("card_code_prefix") ?? "C",
        cardCodeGuest: get("card_code_guest"),
        warehouse: get("warehouse"),
        taxCode: get("tax_code"),
        taxCodeExempt: get("tax_code_exempt"),
        freightCode: number("freight_code", 1),
        tipCode: number("tip_code", 2),
        dueDays: number("due_days", 14),
        asyncRoute: get("async_route") ?? "orders-async",
    };
}

function number(key, otherwise) {
    const text = get(key);
    if (text === undefined) return otherwise;
    const number = /^\+?\d+$/.test(text) ? Number(text) : NaN;
    if (number <= 65535) return number;
    const detail = `the setting ${key} must be a number from 0 to 65535`;
    throw refuse(500, "urn:hooli:misconfigured", "The plugin is misconfigured", detail);
}
