// hooli sells with Shopify and keeps its books in SAP Business One: the body of the webhook `orders/create` becomes a
// document `Orders` of the Service Layer (v2).
//
// On the route named by the setting `async_route` (`orders-async` where none) the document is enqueued as
// `erp.order.created`, in order per Shopify order; on any other it is forwarded to `/b1s/v2/Orders`, and the client
// gets `{"order": …, "document_number": …}` of what SAP answers.
//
// An order that is malformed, or whose total is not the sum of its parts, is refused with 422 and a JSON pointer.

import { enqueue, forward } from "../vendor/sluis/sluis.js";
import { changed } from "./answer.js";
import { map } from "./mapping.js";
import { readSettings } from "./settings.js";
import { readOrder } from "./shopify.js";

/** Maps the order and sends it on, or refuses it. */
export function onRequest(request) {
    const settings = readSettings();
    const { id, document } = map(readOrder(request.body), settings);
    if (request.route === settings.asyncRoute) {
        return enqueue({ eventType: "erp.order.created", key: id.toString(), json: document });
    }
    // The signature was of the body that came in; nobody can verify it from here on.
    return forward({ path: "/b1s/v2/Orders", removeHeaders: ["x-shopify-hmac-sha256"], json: document });
}

/** Tells the client the document's number, or why SAP refused the order. */
export function onResponse(response) {
    return changed(response);
}
