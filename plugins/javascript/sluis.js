// What a plugin says of a request or an answer. Nothing here imports a capability: those are files of their own, and
// plugin.yaml lists the ones that are used.

import { Decision } from "./decision.js";
import * as json from "./json.js";
import { encode } from "./text.js";

export { Decimal } from "./decimal.js";
export { Invalid } from "./json.js";

/**
 * Send the request on, unchanged but for what is named.
 * @param {{ upstream?: string, path?: string, setHeaders?: Record<string, string>, removeHeaders?: string[],
 *           body?: string | Uint8Array, json?: unknown }} change `json` is a new body with its media type
 */
export function forward(change = {}) {
    const { body, headers } = content(change);
    return new Decision("forward", {
        upstream: change.upstream ?? null,
        path: change.path ?? null,
        setHeaders: [...headers, ...Object.entries(change.setHeaders ?? {})],
        removeHeaders: change.removeHeaders ?? [],
        body,
        extra: [],
    });
}

/**
 * Keep the request durably and deliver it later; the client gets 202. Events of one `key` are delivered in order.
 * @param {{ eventType?: string, key?: string, contentType?: string, sinks?: string[], body?: string | Uint8Array,
 *           json?: unknown }} event
 */
export function enqueue(event = {}) {
    const { body, headers } = content(event);
    return new Decision("enqueue", {
        eventType: event.eventType ?? null,
        key: event.key ?? null,
        contentType: event.contentType ?? headers[0]?.[1] ?? null,
        body,
        sinks: event.sinks ?? [],
        extra: [],
    });
}

/**
 * Answer at once.
 * @param {number} status 200 to 599
 * @param {{ headers?: Record<string, string>, body?: string | Uint8Array, json?: unknown }} answer
 */
export function respond(status, answer = {}) {
    const { body, headers } = content(answer);
    const all = [...headers, ...Object.entries(answer.headers ?? {})];
    return new Decision("respond", { status, headers: all, body: body ?? new Uint8Array(0), extra: [] });
}

/**
 * Refuse; the client gets problem+json (RFC 9457). May be returned or thrown.
 * @param {number} status 400 to 599
 * @param {string} kind URI reference that names the kind of problem
 * @param {string} title one line for people
 * @param {string} [detail] what is wrong with this request
 * @param {string} [pointer] JSON pointer (RFC 6901) to what is wrong in the body
 */
export function refuse(status, kind, title, detail = "", pointer = undefined) {
    return new Decision("refuse", { status, kind, title, detail, pointer: pointer ?? null, extra: [] });
}

/**
 * Change an answer before the client sees it; what is not named stays.
 * @param {{ status?: number, setHeaders?: Record<string, string>, removeHeaders?: string[],
 *           body?: string | Uint8Array, json?: unknown, mediaType?: string }} change `mediaType` of the `json`
 */
export function change(change = {}) {
    const { body, headers } = content(change);
    return {
        status: change.status ?? null,
        setHeaders: [...headers, ...Object.entries(change.setHeaders ?? {})],
        removeHeaders: change.removeHeaders ?? [],
        body,
        extra: [],
    };
}

/**
 * Of `shape`: send the event, unchanged but for what is named; what was accepted stays as it is.
 * @param {{ contentType?: string, setHeaders?: Record<string, string>, body?: string | Uint8Array,
 *           json?: unknown }} change
 */
export function send(change = {}) {
    const { body, headers } = content(change);
    return new Decision("send", {
        contentType: change.contentType ?? headers[0]?.[1] ?? null,
        setHeaders: Object.entries(change.setHeaders ?? {}),
        body,
        extra: [],
    });
}

/** Of `shape` and `judge`: the sink has the event, or needs none of it. @param {string} reason kept in its history */
export function done(reason) {
    return new Decision("done", reason);
}

/** Of `shape` and `judge`: the event is a dead letter for this sink. @param {string} reason kept with it */
export function dead(reason) {
    return new Decision("dead", reason);
}

/** Of `judge`: try again after so many seconds, or by the sink's settings. @param {number} [seconds] */
export function retry(seconds) {
    return new Decision("retry", seconds ?? null);
}

/**
 * The first field of this lower-case name; undefined where there is none.
 * @param {{ headers: [string, string][] }} message
 * @param {string} name
 */
export function header(message, name) {
    return message.headers.find(([field]) => field === name)?.[1];
}

function content({ body, json: value, mediaType = "application/json" }) {
    if (value !== undefined) return { body: encode(json.write(value)), headers: [["content-type", mediaType]] };
    return { body: typeof body === "string" ? encode(body) : body ?? null, headers: [] };
}
