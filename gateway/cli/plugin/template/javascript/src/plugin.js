// Takes an order and hands it to the ERP in the ERP's words.

import { forward } from "../vendor/sluis/sluis.js";
import * as json from "../vendor/sluis/json.js";

/** Forwards what is an order; what is none is refused with 422 and a pointer to what is wrong. */
export function onRequest(request) {
    const order = json.read(request.body, "urn:NAME:malformed-order", "Malformed order");
    const document = {
        reference: order.get("number").text(),
        amount: order.get("total").decimal(),
    };
    return forward({ path: "/orders", json: document });
}
