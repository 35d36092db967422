// Exact decimal numbers: amounts never pass through a float.

/** Most decimals, and most digits. */
const MOST = 18;
const LARGEST = 2n ** 63n - 1n;
const SMALLEST = -LARGEST;
const PLAIN = /^-?\d+(?:\.\d+)?$/;
const JSON_NUMBER = /^(-?\d+(?:\.\d+)?)[eE]([+-]?\d+)$/;

/** `units` / 10^`scale`, exactly. Written with exactly `scale` decimals; compared by value. */
export class Decimal {
    /**
     * @param {bigint} units
     * @param {number} scale 0 to 18
     */
    constructor(units, scale) {
        if (scale < 0 || scale > MOST || units > LARGEST || units < SMALLEST) {
            throw new RangeError("too large to be kept exactly");
        }
        this.units = units;
        this.scale = scale;
    }

    /**
     * Plain notation: an optional minus, digits, and where there is a point, digits behind it: `-12.50`.
     * @param {string} text
     */
    static parse(text) {
        if (!PLAIN.test(text)) throw new RangeError("not a decimal number");
        const point = text.indexOf(".");
        if (point < 0) return new Decimal(unitsOf(text), 0);
        return new Decimal(unitsOf(text.slice(0, point) + text.slice(point + 1)), text.length - point - 1);
    }

    /**
     * The text of a JSON number, exponent and all: `1.25e2` is 125.
     * @param {string} text
     */
    static parseJson(text) {
        const parts = JSON_NUMBER.exec(text);
        if (!parts) return Decimal.parse(text);
        const mantissa = Decimal.parse(parts[1]);
        const exponent = Number(parts[2]);
        if (exponent !== (exponent | 0)) throw new RangeError("not a decimal number");
        if (mantissa.isZero()) return ZERO;
        const shortest = mantissa.shortest();
        const scale = shortest.scale - exponent;
        if (scale > MOST || scale < -MOST) throw new RangeError("too large to be kept exactly");
        return scale >= 0 ? new Decimal(shortest.units, scale) : new Decimal(shortest.units * ten(-scale), 0);
    }

    /** A whole number, exactly. @param {number | bigint} number */
    static of(number) {
        return new Decimal(BigInt(number), 0);
    }

    /** The same value with `scale` decimals; a RangeError where that is not exact. @param {number} scale */
    rescale(scale) {
        if (scale === this.scale) return this;
        if (scale > this.scale) return new Decimal(this.units * ten(scale - this.scale), scale);
        const by = ten(this.scale - scale);
        if (this.units % by !== 0n) throw new Inexact();
        return new Decimal(this.units / by, scale);
    }

    /** The same value without trailing zeros behind the point. */
    shortest() {
        let { units, scale } = this;
        while (scale > 0 && units % 10n === 0n) {
            units /= 10n;
            scale -= 1;
        }
        return new Decimal(units, scale);
    }

    /** The sum, with the decimals of the finer of the two. @param {Decimal} other */
    plus(other) {
        if (this.scale === other.scale) return new Decimal(this.units + other.units, this.scale);
        const scale = Math.max(this.scale, other.scale);
        return new Decimal(this.rescale(scale).units + other.rescale(scale).units, scale);
    }

    /** The difference, with the decimals of the finer of the two. @param {Decimal} other */
    minus(other) {
        return this.plus(new Decimal(-other.units, other.scale));
    }

    /** The product, with as many decimals as both have together, or fewer where only zeros are lost. @param {Decimal} other */
    times(other) {
        const units = this.units * other.units;
        const scale = this.scale + other.scale;
        if (scale <= MOST && units <= LARGEST && units >= SMALLEST) return new Decimal(units, scale);
        const [a, b] = [this.shortest(), other.shortest()];
        return new Decimal(a.units * b.units, a.scale + b.scale);
    }

    /** The quotient with `scale` decimals, half rounded away from zero. @param {Decimal} other @param {number} scale */
    dividedBy(other, scale) {
        if (other.isZero()) throw new RangeError("too large to be kept exactly");
        let over = this.units * ten(scale);
        let under = other.units;
        if (this.scale >= other.scale) under *= ten(this.scale - other.scale);
        else over *= ten(other.scale - this.scale);
        const negative = over < 0n !== under < 0n;
        [over, under] = [magnitude(over), magnitude(under)];
        const rounded = (2n * over + under) / (2n * under);
        return new Decimal(negative ? -rounded : rounded, scale);
    }

    /** Rounded to `scale` decimals, half away from zero. @param {number} scale */
    round(scale) {
        return scale >= this.scale ? this.rescale(scale) : this.dividedBy(ONE, scale);
    }

    /** Below 0, 0, or above 0, as `this` is less than, equal to, or more than `other`. @param {Decimal} other */
    compare(other) {
        let [a, b] = [this.units, other.units];
        if (this.scale < other.scale) a *= ten(other.scale - this.scale);
        else if (this.scale > other.scale) b *= ten(this.scale - other.scale);
        return a < b ? -1 : a > b ? 1 : 0;
    }

    /** @param {Decimal} other */
    equals(other) {
        return this.compare(other) === 0;
    }

    isZero() {
        return this.units === 0n;
    }

    isNegative() {
        return this.units < 0n;
    }

    isPositive() {
        return this.units > 0n;
    }

    toString() {
        if (this.scale === 0) return this.units.toString();
        const digits = magnitude(this.units).toString().padStart(this.scale + 1, "0");
        const point = digits.length - this.scale;
        return `${this.isNegative() ? "-" : ""}${digits.slice(0, point)}.${digits.slice(point)}`;
    }
}

/** The value has more decimals than were asked for. */
export class Inexact extends RangeError {
    constructor() {
        super("too many decimals");
    }
}

/** Digits with or without a minus, of which at most 18 count: most texts have no more than that at all. */
function unitsOf(digits) {
    if (digits.length <= MOST) return BigInt(digits);
    const [, sign, counting] = /^(-?)0*(\d*)$/.exec(digits);
    if (counting.length > MOST) throw new RangeError("too large to be kept exactly");
    return BigInt(`${sign}0${counting}`);
}

function ten(power) {
    return TENS[power] ?? 10n ** BigInt(power);
}

function magnitude(number) {
    return number < 0n ? -number : number;
}

const TENS = Array.from({ length: MOST + 1 }, (_, power) => 10n ** BigInt(power));
const ONE = new Decimal(1n, 0);
export const ZERO = new Decimal(0n, 0);
