//! What the tour sends, and what must become of it.

/// One request of the tour.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Whose token is sent.
    pub tenant: &'static str,
    /// How the row is called.
    pub order: &'static str,
    /// Where it goes.
    pub journey: Journey,
    /// Over TLS, with HTTP/2.
    pub tls: bool,
    /// What stands in `Authorization`.
    pub credential: Credential,
    /// What stands in `Idempotency-Key`.
    pub key: Key,
    /// The ERP is down when it is sent, and back once the delivery of its event was tried in vain.
    pub outage: bool,
    /// What is sent.
    pub body: Payload,
    /// What must become of it.
    pub expect: Expect,
}

/// Method and path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journey {
    /// `POST /v1/orders`: through to the ERP, whose answer comes back.
    Forward,
    /// `POST /v1/orders/async`: kept durably, delivered later.
    Enqueue,
    /// Neither.
    Other(&'static str, &'static str),
}

/// What stands in `Authorization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// A token of the tenant.
    Good,
    /// Nothing.
    Missing,
    /// A token that ended ten minutes ago.
    Expired,
    /// A token with only this scope.
    Scope(&'static str),
    /// The tenant's token, broken in its signature.
    Forged,
}

/// What stands in `Idempotency-Key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Nothing.
    None,
    /// A key that no request had.
    New(&'static str),
    /// The key that an earlier one had.
    Used(&'static str),
}

/// A request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Nothing.
    Empty,
    /// An order as the shop sends it.
    Order(&'static str),
    /// This many bytes of JSON.
    Padding(usize),
}

/// What must become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The ERP holds this document, once.
    Filed {
        /// `sap-b1` or `erpnext`.
        system: &'static str,
        /// The shop's number of the order, as the ERP shows it.
        reference: &'static str,
        /// ISO 4217.
        currency: &'static str,
        /// Number of lines.
        lines: u64,
        /// What the customer owes, exactly.
        total: &'static str,
    },
    /// An answer in problem+json, and nothing at the ERP.
    Refused {
        /// HTTP status.
        status: u16,
        /// Last segment of the problem's `type`; any if empty.
        slug: &'static str,
        /// JSON pointer to what is wrong.
        pointer: Option<&'static str>,
    },
}

const SHOPIFY_1001: &str = include_str!("orders/shopify-1001.json");
const SHOPIFY_1002: &str = include_str!("orders/shopify-1002.json");
const SHOPIFY_1003: &str = include_str!("orders/shopify-1003.json");
const SHOPIFY_MALFORMED: &str = include_str!("orders/shopify-malformed.json");
const WOO_7001: &str = include_str!("orders/woocommerce-7001.json");
const WOO_7002: &str = include_str!("orders/woocommerce-7002.json");
const WOO_7003: &str = include_str!("orders/woocommerce-7003.json");
const WOO_MALFORMED: &str = include_str!("orders/woocommerce-malformed.json");

/// Larger than the orders' routes take.
const OVERSIZED: usize = (1 << 20) + 1;

const fn sap(reference: &'static str, lines: u64, total: &'static str) -> Expect {
    Expect::Filed { system: "sap-b1", reference, currency: "EUR", lines, total }
}

const fn erpnext(reference: &'static str, lines: u64, total: &'static str) -> Expect {
    Expect::Filed { system: "erpnext", reference, currency: "EUR", lines, total }
}

const fn refused(status: u16, slug: &'static str, pointer: Option<&'static str>) -> Expect {
    Expect::Refused { status, slug, pointer }
}

const ACME: Case = Case {
    tenant: "acme",
    order: "",
    journey: Journey::Forward,
    tls: false,
    credential: Credential::Good,
    key: Key::None,
    outage: false,
    body: Payload::Empty,
    expect: refused(0, "", None),
};
const GLOBEX: Case = Case { tenant: "globex", ..ACME };
const HOOLI: Case = Case { tenant: "hooli", ..ACME };
const VANDELAY: Case = Case { tenant: "vandelay", ..ACME };

/// Orders that arrive, by either journey, for either tenant, in the clear and over TLS.
pub const ORDERS: &[Case] = &[
    order(ACME, "Shopify 1001", SHOPIFY_1001, Journey::Forward, false, sap("#1001", 2, "172.58")),
    order(ACME, "Shopify 1002", SHOPIFY_1002, Journey::Forward, true, sap("#1002", 3, "84.28")),
    order(ACME, "Shopify 1003", SHOPIFY_1003, Journey::Forward, false, sap("#1003", 1, "816.74")),
    order(ACME, "Shopify 1001", SHOPIFY_1001, Journey::Enqueue, true, sap("#1001", 2, "172.58")),
    order(ACME, "Shopify 1002", SHOPIFY_1002, Journey::Enqueue, false, sap("#1002", 3, "84.28")),
    order(ACME, "Shopify 1003", SHOPIFY_1003, Journey::Enqueue, true, sap("#1003", 1, "816.74")),
    order(GLOBEX, "WooCommerce 7001", WOO_7001, Journey::Forward, true, erpnext("7001", 2, "83.26")),
    order(GLOBEX, "WooCommerce 7002", WOO_7002, Journey::Forward, false, erpnext("7002", 2, "89.88")),
    order(GLOBEX, "WooCommerce 7003", WOO_7003, Journey::Forward, true, erpnext("7003", 1, "502.10")),
    order(GLOBEX, "WooCommerce 7001", WOO_7001, Journey::Enqueue, false, erpnext("7001", 2, "83.26")),
    order(GLOBEX, "WooCommerce 7002", WOO_7002, Journey::Enqueue, true, erpnext("7002", 2, "89.88")),
    order(GLOBEX, "WooCommerce 7003", WOO_7003, Journey::Enqueue, false, erpnext("7003", 1, "502.10")),
    order(HOOLI, "Shopify 1001", SHOPIFY_1001, Journey::Forward, true, sap("#1001", 2, "172.58")),
    order(HOOLI, "Shopify 1002", SHOPIFY_1002, Journey::Enqueue, false, sap("#1002", 3, "84.28")),
    order(HOOLI, "Shopify 1003", SHOPIFY_1003, Journey::Forward, false, sap("#1003", 1, "816.74")),
    order(VANDELAY, "WooCommerce 7001", WOO_7001, Journey::Enqueue, true, erpnext("7001", 2, "83.26")),
    order(VANDELAY, "WooCommerce 7002", WOO_7002, Journey::Forward, false, erpnext("7002", 2, "89.88")),
    order(VANDELAY, "WooCommerce 7003", WOO_7003, Journey::Forward, true, erpnext("7003", 1, "502.10")),
];

const fn order(
    tenant: Case,
    name: &'static str,
    body: &'static str,
    journey: Journey,
    tls: bool,
    expect: Expect,
) -> Case {
    Case { order: name, journey, tls, body: Payload::Order(body), expect, ..tenant }
}

/// What is sent again is done once, and what comes while the ERP is down is kept.
pub const PROMISES: &[Case] = &[
    Case {
        key: Key::New("enqueued"),
        ..order(ACME, "1002 under a key", SHOPIFY_1002, Journey::Enqueue, false, sap("#1002", 3, "84.28"))
    },
    Case {
        key: Key::Used("enqueued"),
        ..order(ACME, "1002 again", SHOPIFY_1002, Journey::Enqueue, true, sap("#1002", 3, "84.28"))
    },
    Case {
        order: "1003, key of 1002",
        journey: Journey::Enqueue,
        key: Key::Used("enqueued"),
        body: Payload::Order(SHOPIFY_1003),
        expect: refused(422, "idempotency-key-reused", None),
        ..ACME
    },
    Case {
        key: Key::New("forwarded"),
        ..order(GLOBEX, "7001 under a key", WOO_7001, Journey::Forward, true, erpnext("7001", 2, "83.26"))
    },
    Case {
        key: Key::Used("forwarded"),
        ..order(GLOBEX, "7001 again", WOO_7001, Journey::Forward, false, erpnext("7001", 2, "83.26"))
    },
    Case {
        outage: true,
        ..order(GLOBEX, "7003, ERP down", WOO_7003, Journey::Enqueue, true, erpnext("7003", 1, "502.10"))
    },
    Case {
        outage: true,
        ..order(ACME, "1003, ERP down", SHOPIFY_1003, Journey::Forward, false, sap("#1003", 1, "816.74"))
    },
];

/// Requests that must not arrive, and why.
pub const REFUSALS: &[Case] = &[
    Case {
        order: "without a token",
        credential: Credential::Missing,
        body: Payload::Order(SHOPIFY_1001),
        expect: refused(401, "invalid-token", None),
        ..ACME
    },
    Case {
        order: "token expired",
        credential: Credential::Expired,
        body: Payload::Order(SHOPIFY_1001),
        tls: true,
        expect: refused(401, "invalid-token", None),
        ..ACME
    },
    Case {
        order: "token forged",
        credential: Credential::Forged,
        body: Payload::Order(WOO_7001),
        expect: refused(401, "invalid-token", None),
        ..GLOBEX
    },
    Case {
        tenant: "initech",
        order: "tenant unknown",
        body: Payload::Order(SHOPIFY_1001),
        expect: refused(403, "tenant-mismatch", None),
        ..ACME
    },
    Case {
        order: "scope missing",
        credential: Credential::Scope("orders:read"),
        journey: Journey::Enqueue,
        body: Payload::Order(WOO_7001),
        expect: refused(403, "insufficient-scope", None),
        ..GLOBEX
    },
    Case {
        order: "malformed",
        body: Payload::Order(SHOPIFY_MALFORMED),
        expect: refused(422, "", Some("/line_items/1/quantity")),
        ..ACME
    },
    Case {
        order: "malformed",
        journey: Journey::Enqueue,
        tls: true,
        body: Payload::Order(WOO_MALFORMED),
        expect: refused(422, "", Some("/line_items/0/total")),
        ..GLOBEX
    },
    Case {
        order: "malformed",
        tls: true,
        body: Payload::Order(SHOPIFY_MALFORMED),
        expect: refused(422, "", Some("/line_items/1/quantity")),
        ..HOOLI
    },
    Case {
        order: "malformed",
        body: Payload::Order(WOO_MALFORMED),
        expect: refused(422, "", Some("/line_items/0/total")),
        ..VANDELAY
    },
    Case {
        order: "unknown path",
        journey: Journey::Other("POST", "/v1/invoices"),
        body: Payload::Order(WOO_7001),
        expect: refused(404, "route-not-found", None),
        ..GLOBEX
    },
    Case {
        order: "wrong method",
        journey: Journey::Other("PUT", "/v1/orders"),
        body: Payload::Order(SHOPIFY_1001),
        expect: refused(405, "method-not-allowed", None),
        ..ACME
    },
    Case {
        order: "over 1 MiB",
        body: Payload::Padding(OVERSIZED),
        expect: refused(413, "body-too-large", None),
        ..ACME
    },
];
