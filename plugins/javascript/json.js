// JSON of a client, read so that a refusal can point at what is wrong, and written with exact amounts.

import { Decimal } from "./decimal.js";
import { Decision } from "./decision.js";
import { decode } from "./text.js";

/** What is wrong in a document, and where. A hook that does not catch it refuses with 422 and the pointer. */
export class Invalid extends Error {
    /**
     * @param {Field} field where
     * @param {string} detail what is wrong there, for people
     */
    constructor(field, detail) {
        super(detail);
        this.name = "Invalid";
        this.pointer = field.pointer();
        this.words = field.words;
    }

    /** The same of an event, which is sent nowhere then. @returns {Decision} */
    dead() {
        return new Decision("dead", `${this.pointer}: ${this.message}`.slice(0, 200));
    }

    /** @returns {Decision} */
    refuse() {
        const { kind, title } = this.words;
        return new Decision("refuse", {
            status: 422, kind, title, detail: this.message, pointer: this.pointer, extra: [],
        });
    }
}

/**
 * Reads a body, which must be an object.
 * @param {Uint8Array} bytes
 * @param {string} kind URI reference that names the kind of problem where something is wrong
 * @param {string} title the same for people
 */
export function read(bytes, kind = "about:blank", title = "Unprocessable Content") {
    const root = new Field(undefined, null, "", { kind, title });
    let text;
    try {
        text = decode(bytes);
    } catch {
        throw new Invalid(root, "not UTF-8");
    }
    if (isTooDeep(text)) throw new Invalid(root, "nested too deeply");
    try {
        root.value = JSON.parse(text, keepNumbers);
    } catch (error) {
        throw new Invalid(root, `not JSON: ${error.message}`);
    }
    if (!isObject(root.value)) throw new Invalid(root, "must be an object");
    return root;
}

/**
 * `value` as JSON text: plain values, and `Decimal`s, which become numbers of exactly their decimals.
 * @param {unknown} value
 * @returns {string}
 */
export function write(value) {
    return JSON.stringify(value, exact);
}

/** Levels that the engine's parser can go down: past some more it has no stack left, and takes the instance with it. */
const DEEPEST = 1000;

function isTooDeep(text) {
    // Nothing is deeper than it has brackets: only what has very many is looked at closely.
    if (text.split("[", DEEPEST).length + text.split("{", DEEPEST).length <= DEEPEST) return false;
    const parts = text.replaceAll("\\\\", "").replaceAll('\\"', "").split('"');
    const outsideTexts = parts.filter((_, index) => index % 2 === 0).join("");
    let depth = 0;
    for (const bracket of outsideTexts.replace(/[^[\]{}]+/g, "")) {
        depth += bracket === "[" || bracket === "{" ? 1 : -1;
        if (depth > DEEPEST) return true;
    }
    return false;
}

/** A number as it was written: what it is taken for is decided where it is looked at. */
class Written {
    constructor(text) {
        this.text = text;
    }

    toJSON() {
        return JSON.rawJSON(this.text);
    }
}

/** A place in a document and what stands there; `null` counts as absent. */
export class Field {
    constructor(value, parent, key, words) {
        this.value = value;
        this.parent = parent;
        this.key = key;
        this.words = words;
    }

    /** JSON pointer (RFC 6901); empty for the whole document. */
    pointer() {
        if (this.parent === null) return "";
        return `${this.parent.pointer()}/${String(this.key).replace(/~/g, "~0").replace(/\//g, "~1")}`;
    }

    /** @param {string} detail */
    invalid(detail) {
        return new Invalid(this, detail);
    }

    /** Whether something stands here. */
    exists() {
        return this.value !== undefined && this.value !== null;
    }

    /** The member `key` of the object here; absent if this is. @param {string} key */
    get(key) {
        const here = this.value;
        if (here === undefined || here === null) return new Field(undefined, this, key, this.words);
        if (!isObject(here)) throw this.invalid("must be an object");
        return new Field(Object.hasOwn(here, key) ? here[key] : undefined, this, key, this.words);
    }

    /** This, which must be there and an object. @returns {Field} */
    object() {
        if (!isObject(this.value)) throw this.invalid("must be an object");
        return this;
    }

    /** The elements of the list here; none if it is absent. @returns {Field[]} */
    items() {
        if (!this.exists()) return [];
        if (!Array.isArray(this.value)) throw this.invalid("must be a list");
        return this.value.map((value, index) => new Field(value, this, index, this.words));
    }

    /** Text, which must be there; empty text is not. @returns {string} */
    text() {
        const text = this.optionalText();
        if (text === undefined) throw this.invalid("must be a text that is not empty");
        return text;
    }

    /** Text; undefined where it is absent or empty. @returns {string | undefined} */
    optionalText() {
        if (!this.exists()) return undefined;
        if (typeof this.value !== "string" || !this.value.isWellFormed()) throw this.invalid("must be a text");
        return this.value === "" ? undefined : this.value;
    }

    /** A decimal number, which must be there: text (`"12.50"`, plain notation) or a number. @returns {Decimal} */
    decimal() {
        const decimal = this.optionalDecimal();
        if (decimal === undefined) throw this.invalid("must be a decimal number");
        return decimal;
    }

    /** A decimal number; undefined where it is absent. @returns {Decimal | undefined} */
    optionalDecimal() {
        const { value } = this;
        try {
            if (typeof value === "string") return Decimal.parse(value || this.text());
            if (value instanceof Written) return Decimal.parseJson(value.text);
        } catch (error) {
            throw error instanceof RangeError ? this.invalid(error.message) : error;
        }
        if (this.exists()) throw this.invalid("must be a decimal number");
        return undefined;
    }

    /** A whole number that JavaScript holds exactly, which must be there. @returns {number} */
    integer() {
        const text = this.value instanceof Written ? this.value.text : "";
        const number = /^-?\d+$/.test(text) ? Number(text) : NaN;
        if (!Number.isSafeInteger(number)) throw this.invalid("must be a whole number");
        return number;
    }

    /** A whole number of 64 bits, which must be there: for what a `number` may not hold exactly. @returns {bigint} */
    bigInteger() {
        const text = this.value instanceof Written ? this.value.text : "";
        const number = /^-?\d{1,19}$/.test(text) ? BigInt(text) : undefined;
        if (number === undefined || BigInt.asIntN(64, number) !== number) throw this.invalid("must be a whole number");
        return number;
    }

    /** True or false; `otherwise` where it is absent. @param {boolean} otherwise @returns {boolean} */
    boolean(otherwise = false) {
        if (!this.exists()) return otherwise;
        if (typeof this.value !== "boolean") throw this.invalid("must be true or false");
        return this.value;
    }

    /** What `compute` says; where it is no exact decimal, this field is what is wrong. @template T @param {() => T} compute */
    exactly(compute) {
        try {
            return compute();
        } catch (error) {
            throw error instanceof RangeError ? this.invalid(error.message) : error;
        }
    }
}

function keepNumbers(_key, value, context) {
    // The engine may have lost the text of what stands twice in an object: that is no number, wherever it is looked at.
    return typeof value === "number" ? new Written(context.source ?? "null") : value;
}

function exact(_key, value) {
    return value instanceof Decimal ? JSON.rawJSON(value.toString()) : value;
}

/** Lists and numbers are objects as well, of other prototypes. */
function isObject(value) {
    return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}
