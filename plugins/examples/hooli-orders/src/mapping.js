// From the shop's order to the ERP's document. Amounts are in the order's currency and exact.

import { Day } from "../vendor/sluis/date.js";
import { Decimal } from "../vendor/sluis/decimal.js";
import { cut } from "../vendor/sluis/text.js";
import { Money } from "./money.js";
import {
    addressExtension, CARD_CODE, COMMENTS, expense, ITEM_CODE, ITEM_DESCRIPTION, linePrices, NUM_AT_CARD,
} from "./sap.js";

/** The Shopify order's id and the document of the order; what is wrong with the order is thrown, the first of it. */
export function map(order, settings) {
    const { at } = order;
    const id = at.get("id").bigInteger();
    const name = at.get("name").text();
    const money = new Money(at.get("currency"), order.taxesIncluded);
    const [date, due] = dates(at.get("created_at"), settings.dueDays);
    const lines = mapLines(order.lineItems, money, settings);
    const shipping = order.shippingLines.items.map((line) => mapShipping(line, money, settings));
    const tip = money.optional(at.get("total_tip_received"));
    const total = checkedTotal(at, money, [...lines, ...shipping], tip);
    const expenses = mapExpenses(shipping, tip, money, settings);
    const document = {
        CardCode: cardCode(order, settings),
        DocDate: date.toString(),
        DocDueDate: due.toString(),
        DocCurrency: money.currency.code,
        DocTotal: total,
        NumAtCard: cut(name, NUM_AT_CARD),
        Comments: comments(at.get("note"), id, name),
        DocumentLines: lines.map(({ mapped }) => mapped),
        DocumentAdditionalExpenses: expenses.length > 0 ? expenses : undefined,
        AddressExtension: addressExtension(order.shippingAddress, order.billingAddress),
    };
    return { id, document };
}

function dates(at, dueDays) {
    const date = Day.parse(at.text());
    if (date === undefined) throw at.invalid("is no date and time (ISO 8601)");
    const due = date.plusDays(dueDays);
    if (due === undefined) throw at.invalid("is too late a date");
    return [date, due];
}

function cardCode({ at, customer }, { cardCodePrefix, cardCodeGuest }) {
    if (customer !== undefined) {
        const id = customer.get("id");
        const code = `${cardCodePrefix}${id.bigInteger()}`;
        if (isLonger(code, CARD_CODE)) {
            throw id.invalid(`${code} is too long a card code: at most ${CARD_CODE} characters`);
        }
        return code;
    }
    if (cardCodeGuest === undefined) {
        throw at.get("customer").invalid("must be there: orders of guests are not taken");
    }
    return cardCodeGuest;
}

function comments(note, id, name) {
    const text = note.optionalText();
    const order = `Shopify order ${name} (${id})`;
    return cut(text === undefined ? order : `${order}: ${text}`, COMMENTS);
}

/** Each line with what it adds up to. */
function mapLines({ at, items }, money, settings) {
    if (items.length === 0) throw at.invalid("must have at least one line");
    return items.map((item) => mapLine(item, money, settings));
}

function mapLine({ at, taxLines, discounts }, money, settings) {
    const sku = itemCode(at.get("sku"));
    const quantity = pieces(at.get("quantity"));
    const price = money.amount(at.get("price"));
    const whole = at.exactly(() => price.times(quantity));
    const discount = lineDiscount(at, discounts, whole, money);
    const amount = at.exactly(() => whole.minus(discount));
    const tax = money.sumOf(taxLines.items, "price");
    const mapped = {
        ItemCode: sku,
        ItemDescription: cut(description(at), ITEM_DESCRIPTION),
        Quantity: quantity,
        ...linePrices(money.gross, price, amount),
        TaxTotal: tax,
        TaxCode: taxCode(tax, settings),
        WarehouseCode: settings.warehouse,
    };
    return { mapped, amount, tax };
}

function itemCode(at) {
    const sku = at.text();
    if (isLonger(sku, ITEM_CODE)) throw at.invalid(`is too long an item code: at most ${ITEM_CODE} characters`);
    return sku;
}

function pieces(at) {
    const quantity = at.bigInteger();
    if (quantity < 1n) throw at.invalid("must be at least 1");
    return Decimal.of(quantity);
}

/** All discounts of a line where Shopify lists them, its own where it does not. */
function lineDiscount(at, discounts, of, money) {
    if (discounts.items.length > 0) return money.discounts(discounts, of);
    const own = at.get("total_discount");
    const discount = money.optional(own);
    if (discount.compare(of) > 0) throw own.invalid("takes off more than there is");
    return discount;
}

function description(at) {
    const title = at.get("title").text();
    const variant = at.get("variant_title").optionalText();
    return variant === undefined ? title : `${title} - ${variant}`;
}

/** A shipping line with what it adds up to. */
function mapShipping({ at, taxLines, discounts }, money, settings) {
    const price = money.amount(at.get("price"));
    const amount = shippingAmount(at, discounts, price, money);
    const tax = money.sumOf(taxLines.items, "price");
    const remarks = at.get("title").optionalText() ?? "Shipping";
    const mapped = expense(settings.freightCode, money.gross, amount, remarks, taxCode(tax, settings));
    return { mapped, amount, tax };
}

/** The price that Shopify discounted, unless it lists the discounts: only those are all of them. */
function shippingAmount(at, discounts, price, money) {
    const discounted = at.get("discounted_price");
    if (discounts.items.length === 0 && discounted.exists()) return money.amount(discounted);
    const discount = money.discounts(discounts, price);
    return at.exactly(() => price.minus(discount));
}

function mapExpenses(shipping, tip, money, settings) {
    const expenses = shipping.filter(({ amount }) => !amount.isZero()).map(({ mapped }) => mapped);
    if (!tip.isZero()) expenses.push(expense(settings.tipCode, money.gross, tip, "Tip", settings.taxCodeExempt));
    return expenses;
}

/** The order's total, which its parts must add up to, to the last minor unit. */
function checkedTotal(at, money, parts, tip) {
    const taxAt = at.get("total_tax");
    const tax = money.optional(taxAt);
    const listed = money.sum(parts.map((part) => part.tax), taxAt);
    // Shops that do not list their taxes by line have only this total.
    if (!listed.isZero() && !listed.equals(tax)) {
        throw taxAt.invalid(`is ${tax}, but the tax lines add up to ${listed}`);
    }
    const totalAt = at.get("total_price");
    const total = money.amount(totalAt);
    const added = money.gross ? [tip] : [tax, tip];
    const sum = money.sum([...parts.map((part) => part.amount), ...added], totalAt);
    if (!sum.equals(total)) throw totalAt.invalid(`is ${total}, but the order adds up to ${sum}`);
    return total;
}

function taxCode(tax, settings) {
    return tax.isZero() ? settings.taxCodeExempt : settings.taxCode;
}

function isLonger(text, most) {
    return cut(text, most) !== text;
}
