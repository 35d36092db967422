// The mapping of ../order-map, in JavaScript: renames the fields of a canonical order (schema 1) to the ERP's, adds
// `DocTotal`, marks the request and drops a header that the ERP has no use for.

import { Decimal, forward } from "../vendor/sluis/sluis.js";
import * as json from "../vendor/sluis/json.js";

export function onRequest(request) {
    const order = json.read(request.body, "urn:sluis:example:malformed-order", "Malformed order");
    return forward({
        setHeaders: { "x-canonical": "order.v1" },
        removeHeaders: ["user-agent"],
        json: document(order),
    });
}

function document(order) {
    const customer = order.get("customer");
    const { lines, total } = documentLines(order.get("lines"));
    return {
        schemaVersion: 1,
        ExternalId: order.get("id").text(),
        CardCode: customer.get("id").text(),
        CardName: customer.get("name").text(),
        DocCurrency: order.get("currency").text(),
        DocTotal: total,
        DocumentLines: lines,
        ShipTo: order.get("ship_to").value,
        DocDate: order.get("placed_at").text(),
    };
}

function documentLines(lines) {
    let total = Decimal.of(0);
    const mapped = lines.items().map((line) => {
        const quantity = line.get("qty").decimal();
        const price = line.get("unit_price").decimal();
        total = line.exactly(() => total.plus(quantity.times(price)));
        return {
            ItemCode: line.get("sku").text(),
            Quantity: quantity,
            UnitPrice: price,
            Text: line.get("description").optionalText() ?? "",
        };
    });
    return { lines: mapped, total };
}
