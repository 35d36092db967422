// Currencies of ISO 4217 and their minor units.

/** A currency in use, with the number of decimals of its minor unit. */
export class Currency {
    /**
     * @param {string} code
     * @param {number} decimals 2 for the euro, 0 for the yen, 3 for the Kuwaiti dinar
     */
    constructor(code, decimals) {
        this.code = code;
        this.decimals = decimals;
    }

    /** The currency of an upper-case code: `EUR`; undefined where there is none. @param {string} code */
    static of(code) {
        return CURRENCIES.get(code);
    }

    /**
     * `amount` in this currency, with exactly its decimals; an `Inexact` is thrown where it has finer ones.
     * @param {import("./decimal.js").Decimal} amount
     */
    exactly(amount) {
        return amount.rescale(this.decimals);
    }

    toString() {
        return this.code;
    }
}

const CODES = {
    2: `
        EUR USD GBP CHF CAD AUD CNY SEK NOK DKK PLN CZK HUF RON BGN TRY INR BRL MXN ZAR SGD HKD NZD ILS THB
        MYR PHP IDR AED SAR QAR EGP NGN KES MAD UAH RUB ARS COP PEN TWD PKR BDT LKR VED VES AFN ALL AMD ANG
        AOA AWG AZN BAM BBD BMD BND BOB BSD BTN BWP BYN BZD CDF CRC CUP CVE DOP DZD ERN ETB FJD FKP GEL GHS
        GIP GMD GTQ GYD HNL HTG IRR JMD KGS KHR KPW KYD KZT LAK LBP LRD LSL MDL MGA MKD MMK MNT MOP MRU MUR
        MVR MWK MZN NAD NIO NPR PAB PGK RSD SBD SCR SDG SHP SLE SOS SRD SSP STN SVC SYP SZL TJS TMT TOP TTD
        TZS UYU UZS WST XCD XCG YER ZMW ZWG CHE CHW BOV COU MXV USN
    `,
    0: "JPY KRW VND CLP ISK XAF XOF XPF PYG UGX BIF DJF GNF KMF RWF VUV UYI",
    3: "KWD BHD OMR JOD TND IQD LYD",
    4: "CLF UYW",
};

// Made when the plugin is built: what is ready then is ready in every call.
const CURRENCIES = new Map(
    Object.entries(CODES).flatMap(([decimals, codes]) =>
        codes.trim().split(/\s+/).map((code) => [code, new Currency(code, Number(decimals))])),
);
