// Calendar dates: what documents of an ERP carry.

const TIMESTAMP = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d):(\d\d)(?:\.\d*)?(?:Z|[+-]\d\d:\d\d)?)?$/;
const LAST_YEAR = 9999;

/** A day of the Gregorian calendar, year 1 to 9999; written `YYYY-MM-DD`. The engine's `Date` is a point in time. */
export class Day {
    /**
     * @param {number} year
     * @param {number} month 1 to 12
     * @param {number} day
     */
    constructor(year, month, day) {
        this.year = year;
        this.month = month;
        this.day = day;
    }

    /**
     * The day of an RFC 3339 timestamp or ISO 8601 date (`2026-11-20T12:00:00+01:00`), as it is written there: no
     * change of time zone. Undefined where the text is neither.
     * @param {string} text
     * @returns {Day | undefined}
     */
    static parse(text) {
        const parts = TIMESTAMP.exec(text);
        if (!parts) return undefined;
        const [year, month, day, hour, minute, second] = parts.slice(1).map((digits) => Number(digits ?? 0));
        const exists = year > 0 && month >= 1 && month <= 12 && day > 0 && day <= daysOf(year, month);
        return exists && hour <= 23 && minute <= 59 && second <= 60 ? new Day(year, month, day) : undefined;
    }

    /**
     * The day `days` later; undefined past the year 9999.
     * @param {number} days whole, at least 0
     * @returns {Day | undefined}
     */
    plusDays(days) {
        let { year, month, day } = this;
        day += days;
        while (day > daysOf(year, month)) {
            day -= daysOf(year, month);
            month += 1;
            if (month > 12) [year, month] = [year + 1, 1];
        }
        return year > LAST_YEAR ? undefined : new Day(year, month, day);
    }

    toString() {
        return `${padded(this.year, 4)}-${padded(this.month, 2)}-${padded(this.day, 2)}`;
    }
}

function daysOf(year, month) {
    if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
    return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

function padded(number, digits) {
    return String(number).padStart(digits, "0");
}
