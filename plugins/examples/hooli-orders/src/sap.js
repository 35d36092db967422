// The document `Orders` of SAP Business One's Service Layer (v2), as far as it is filled. Members stand in the order in
// which they are written; those that are undefined are left out.

import { cut } from "../vendor/sluis/text.js";

/** Longest texts that SAP takes, characters. */
export const CARD_CODE = 15;
export const NUM_AT_CARD = 100;
export const COMMENTS = 254;
export const ITEM_CODE = 50;
export const ITEM_DESCRIPTION = 200;

/** What a line costs: before tax, or with it where the shop's prices include it; then SAP takes the tax out. */
export function linePrices(gross, price, amount) {
    return gross ? { PriceAfterVAT: price, GrossTotal: amount } : { UnitPrice: price, LineTotal: amount };
}

/** What is charged besides the goods. */
export function expense(code, gross, amount, remarks, taxCode) {
    return {
        ExpenseCode: code,
        [gross ? "LineGross" : "LineTotal"]: amount,
        Remarks: cut(remarks, COMMENTS),
        TaxCode: taxCode,
    };
}

/** The addresses of a document, both of which may be absent. */
export function addressExtension(shipTo, billTo) {
    if (shipTo === undefined && billTo === undefined) return undefined;
    return { ...(shipTo && address("ShipTo", shipTo)), ...(billTo && address("BillTo", billTo)) };
}

function address(which, at) {
    const part = (key, most) => {
        const text = at.get(key).optionalText();
        return text && cut(text, most);
    };
    return {
        [`${which}Address2`]: part("company", 50) ?? part("name", 50),
        [`${which}Street`]: part("address1", 100),
        [`${which}Block`]: part("address2", 100),
        [`${which}City`]: part("city", 100),
        [`${which}ZipCode`]: part("zip", 20),
        [`${which}State`]: part("province_code", 3),
        [`${which}Country`]: part("country_code", 3),
    };
}
