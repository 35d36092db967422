/** What becomes of a request: made by the functions of sluis.js. A hook may return it, or throw it. */
export class Decision {
    constructor(tag, val) {
        this.tag = tag;
        this.val = val;
    }
}
