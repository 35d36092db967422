// The order of Shopify's REST Admin API, as far as it is looked at.

import * as json from "../vendor/sluis/json.js";

/**
 * The order in a body. What must be an object or a list is one before any value is looked at: an order of the wrong
 * shape is refused for that, whatever else is wrong with it. The shape is checked in the order in which Shopify writes.
 */
export function readOrder(body) {
    const at = json.read(body, "urn:hooli:malformed-order", "Malformed order");
    return {
        at,
        taxesIncluded: flag(at.get("taxes_included")),
        billingAddress: optionalObject(at.get("billing_address")),
        customer: optionalObject(at.get("customer")),
        lineItems: list(at.get("line_items"), withLists),
        shippingAddress: optionalObject(at.get("shipping_address")),
        shippingLines: list(at.get("shipping_lines"), withLists),
    };
}

/** An item or a shipping line, with the lists in it. */
function withLists(at) {
    return { at, taxLines: list(at.get("tax_lines")), discounts: list(at.get("discount_allocations")) };
}

/** A list of objects, each of them `as` it is wanted. The list may be absent; `null` is none. */
function list(at, as = (element) => element) {
    if (at.value === null) throw at.invalid("must be a list");
    return { at, items: at.items().map((element) => as(element.object())) };
}

function optionalObject(at) {
    return at.exists() ? at.object() : undefined;
}

/** True or false, false where it is absent; `null` is neither. */
function flag(at) {
    if (at.value === null) throw at.invalid("must be true or false");
    return at.boolean(false);
}
