// Requests to the systems that the tenant's settings name. In plugin.yaml: `imports: [http-client]`.

import host from "sluis:plugin/http-client@1.0.0";

import { encode } from "./text.js";

/**
 * Sends a request and waits for the whole answer. Throws the word of the contract where there is none: "timeout" …
 * @param {{ url: string, method?: string, headers?: Record<string, string>, body?: string | Uint8Array,
 *           timeout?: number }} request `timeout` in milliseconds
 * @returns {{ status: number, headers: [string, string][], body: Uint8Array }}
 */
export function send({ url, method = "GET", headers = {}, body = "", timeout = 1000 }) {
    const bytes = typeof body === "string" ? encode(body) : body;
    return host.send({ method, url, headers: Object.entries(headers), body: bytes, extra: [] }, timeout);
}
