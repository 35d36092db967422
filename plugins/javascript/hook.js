// Puts a hook of the plugin's behind the contract: what it throws is a decision, or is told before the instance traps.

import panic from "sluis:plugin/panic@1.0.0";

import { Decision } from "./decision.js";
import { Invalid } from "./json.js";
import { encode } from "./text.js";

/** Longest text that is told, bytes. */
const MOST = 2000;
/** A number holds 53 bits: six bytes of a word's eight. The host leaves zeros out. */
const BYTES = 6;
const WORDS = 15;

// The engine has no clock: what asks it would trap without a word.
globalThis.Date = class extends Date {
    constructor(...parts) {
        if (parts.length === 0) Date.now();
        super(...parts);
    }

    static now() {
        throw new Error("there is no clock but the capability: import { now } from \"../vendor/sluis/clock.js\"");
    }
};

/** What each hook may say, as the contract has it. */
const SAYS = {
    onRequest: ["forward", "enqueue", "respond", "refuse"],
    onRequestHead: ["forward", "enqueue", "respond", "refuse"],
    shape: ["send", "done", "dead"],
    judge: ["done", "retry", "dead"],
};

/** @param {unknown} hook what the plugin exports @param {string} name */
export function guard(hook, name) {
    return (...told) => {
        try {
            if (typeof hook !== "function") throw new TypeError(`src/plugin.js exports no function ${name}`);
            return checked(said(hook, name, told), name);
        } catch (thrown) {
            tell(describe(thrown));
            throw thrown;
        }
    };
}

/** What the hook returns or throws. */
function said(hook, name, told) {
    try {
        return hook(...told);
    } catch (thrown) {
        if (thrown instanceof Decision) return thrown;
        // An event that is not what it must be never will be.
        if (thrown instanceof Invalid) return name === "shape" ? thrown.dead() : thrown.refuse();
        throw thrown;
    }
}

function checked(said, name) {
    if (name === "judge" && (said === undefined || said === null)) return null;
    if (said === undefined) throw new TypeError(`${name} returned nothing`);
    const tags = SAYS[name];
    if (tags && !tags.includes(said?.tag)) throw new TypeError(`${name} may say ${tags.join(", ")}, not ${said?.tag}`);
    return said;
}

function describe(thrown) {
    if (!(thrown instanceof Error)) return `uncaught: ${String(thrown)}`;
    return `uncaught ${thrown.name}: ${thrown.message}\n${thrown.stack ?? ""}`.trimEnd();
}

function tell(text) {
    const bytes = encode(text).subarray(0, MOST);
    for (let at = 0; at < bytes.length; at += BYTES * WORDS) {
        const words = [];
        for (let word = 0; word < WORDS; word++) words.push(number(bytes, at + word * BYTES));
        panic.note(8 * WORDS, words);
    }
}

/** Six bytes as a number, the first in its lowest bits. */
function number(bytes, at) {
    let number = 0;
    for (let byte = BYTES - 1; byte >= 0; byte--) number = number * 256 + (bytes[at + byte] ?? 0);
    return number;
}
