// How amounts of an order are read and written.

import { Currency } from "../vendor/sluis/currency.js";
import { Inexact, ZERO } from "../vendor/sluis/decimal.js";

/** The amounts of one order: all in its currency, exact, and at least 0. */
export class Money {
    /**
     * @param {Field} currency where the order names it
     * @param {boolean} gross whether prices include tax
     */
    constructor(currency, gross) {
        this.currency = Currency.of(currency.text());
        if (this.currency === undefined) throw currency.invalid("is no currency (ISO 4217)");
        this.gross = gross;
        this.zero = this.currency.exactly(ZERO);
    }

    /** An amount that must be there. @param {Field} field */
    amount(field) {
        const amount = field.decimal();
        if (amount.isNegative()) throw field.invalid("must not be negative");
        try {
            return this.currency.exactly(amount);
        } catch (error) {
            if (error instanceof Inexact) throw field.invalid(`has more decimals than ${this.currency}`);
            if (error instanceof RangeError) throw field.invalid(error.message);
            throw error;
        }
    }

    /** An amount; 0 where it is absent. @param {Field} field */
    optional(field) {
        return field.exists() ? this.amount(field) : this.zero;
    }

    /** The sum; where it cannot be kept, `at` is what is wrong. @param {Decimal[]} amounts @param {Field} at */
    sum(amounts, at) {
        return at.exactly(() => amounts.reduce((sum, amount) => sum.plus(amount), this.zero));
    }

    /** The sum of the member `key` of all `items`. @param {Field[]} items @param {string} key */
    sumOf(items, key) {
        let sum = this.zero;
        for (const item of items) {
            const amount = this.amount(item.get(key));
            sum = item.exactly(() => sum.plus(amount));
        }
        return sum;
    }

    /** What all discounts of a list together take off, at most `of`. */
    discounts({ at, items }, of) {
        const sum = this.sumOf(items, "amount");
        if (sum.compare(of) > 0) throw at.invalid("takes off more than there is");
        return sum;
    }
}
