// Small durable state of the tenant's own. In plugin.yaml: `imports: [kv]`. Values are text or bytes; times to live are in
// seconds. Every function throws the word of the contract where nothing was done: "quota", "unavailable" …

import host from "sluis:plugin/kv@1.0.0";

import { decode, encode } from "./text.js";

const bytes = (value) => (typeof value === "string" ? encode(value) : value);

/** The value of `key`; undefined where there is none. @param {string} key @returns {Uint8Array | undefined} */
export function get(key) {
    return host.get(key) ?? undefined;
}

/** The same as text. @param {string} key @returns {string | undefined} */
export function getText(key) {
    const value = get(key);
    return value && decode(value);
}

/** Keeps `value`. @param {string} key @param {string | Uint8Array} value @param {number} [ttl] */
export function set(key, value, ttl) {
    host.set(key, bytes(value), ttl ?? null);
}

/**
 * As `set`, if the value is `expected` now (undefined: if there is none). Whether it was.
 * @param {string} key @param {string | Uint8Array | undefined} expected @param {string | Uint8Array} value
 * @param {number} [ttl] @returns {boolean}
 */
export function swap(key, expected, value, ttl) {
    return host.swap(key, expected === undefined ? null : bytes(expected), bytes(value), ttl ?? null);
}

/** Adds to a decimal number, 0 where there is none. The sum. @param {string} key @param {number} by @param {number} [ttl] */
export function add(key, by = 1, ttl) {
    return host.add(key, by, ttl ?? null);
}

/** Forgets `key`. Whether there was a value. @param {string} key @returns {boolean} */
export function remove(key) {
    return host.delete(key);
}
