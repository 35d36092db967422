// UTF-8, which the engine has no codec for, by those that it has: base64, which is between bytes and characters below
// 256, and those of URIs. All of them are compiled; a loop in JavaScript takes a hundred times as long.

/**
 * The text of UTF-8 `bytes`. Throws a URIError where they are not UTF-8.
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function decode(bytes) {
    const latin = atob(bytes.toBase64());
    return isAscii(bytes) ? latin : decodeURIComponent(escape(latin));
}

/**
 * `text` in UTF-8; what is no character (a lone surrogate) becomes U+FFFD.
 * @param {string} text
 * @returns {Uint8Array}
 */
export function encode(text) {
    const latin = BEYOND_ASCII.test(text) ? unescape(encodeURIComponent(text.toWellFormed())) : text;
    return Uint8Array.fromBase64(btoa(latin));
}

/**
 * The first `most` characters of `text`, none of them split.
 * @param {string} text
 * @param {number} most
 */
export function cut(text, most) {
    if (text.length <= most) return text;
    let end = 0;
    for (let left = most; left > 0 && end < text.length; left--) end += text.codePointAt(end) > 0xffff ? 2 : 1;
    return text.slice(0, end);
}

const BEYOND_ASCII = /[^\0-\x7f]/;

/** Looks at 32 bytes in a step: of a body, this is what takes the longest. */
function isAscii(bytes) {
    const { buffer, byteOffset } = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
    const words = new Uint32Array(buffer, byteOffset, bytes.length >> 2);
    let any = 0;
    let at = 0;
    for (; at + 8 <= words.length; at += 8) {
        any |= words[at] | words[at + 1] | words[at + 2] | words[at + 3];
        any |= words[at + 4] | words[at + 5] | words[at + 6] | words[at + 7];
    }
    for (let byte = at * 4; byte < bytes.length; byte++) any |= bytes[byte];
    return (any & 0x80808080) === 0;
}
