// What the client gets to see of SAP's answer.

import * as json from "../vendor/sluis/json.js";
import { warn } from "../vendor/sluis/log.js";
import { change, Invalid } from "../vendor/sluis/sluis.js";

/** The change to an answer: none where it says nothing that the client could use. */
export function changed({ status, body }) {
    if (status >= 200 && status < 300) {
        const created = readable(() => createdOrder(json.read(body)));
        if (created !== undefined) return change({ json: created });
        warn("the ERP's answer names no document; passed on as it is");
    } else if (status >= 400 && status < 500) {
        const detail = readable(() => refusal(json.read(body)));
        if (detail !== undefined) return refused(status, detail);
    }
    return change();
}

/** What the client gets for an order that SAP took: the shop's own name of it, and the document's number. */
function createdOrder(answer) {
    return {
        order: answer.get("NumAtCard").optionalText() ?? null,
        document_number: answer.get("DocNum").bigInteger().toString(),
    };
}

/** SAP's own words, which stand in `error.message`, or in `error.message.value` with older service layers. */
function refusal(answer) {
    const message = answer.get("error").get("message");
    return typeof message.value === "string" ? message.text() : message.get("value").text();
}

/** RFC 9457. */
function refused(status, detail) {
    const problem = { type: "urn:hooli:erp-refused", title: "SAP Business One refused the order", status, detail };
    return change({ json: problem, mediaType: "application/problem+json" });
}

/** What `read` makes of an answer; undefined where the answer is not what `read` expects. */
function readable(read) {
    try {
        return read();
    } catch (error) {
        if (error instanceof Invalid) return undefined;
        throw error;
    }
}
