// UTF-8, which the engine has no encoder for, by the two codecs of URIs that it has.

/** Bytes that one call of `fromCharCode` is given. */
const CHUNK = 4096;

/**
 * The text of UTF-8 `bytes`. Throws a URIError where they are not UTF-8.
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function decode(bytes) {
    let latin = "";
    for (let at = 0; at < bytes.length; at += CHUNK) {
        latin += String.fromCharCode.apply(null, bytes.subarray(at, at + CHUNK));
    }
    return ASCII.test(latin) ? latin : decodeURIComponent(escape(latin));
}

/**
 * `text` in UTF-8; what is no character (a lone surrogate) becomes U+FFFD.
 * @param {string} text
 * @returns {Uint8Array}
 */
export function encode(text) {
    const latin = ASCII.test(text) ? text : unescape(encodeURIComponent(text.toWellFormed()));
    const bytes = new Uint8Array(latin.length);
    for (let at = 0; at < latin.length; at++) bytes[at] = latin.charCodeAt(at);
    return bytes;
}

/**
 * The first `most` characters of `text`, none of them split.
 * @param {string} text
 * @param {number} most
 */
export function cut(text, most) {
    if (text.length <= most) return text;
    const characters = [...text];
    return characters.length <= most ? text : characters.slice(0, most).join("");
}

const ASCII = /^[\0-\x7f]*$/;
