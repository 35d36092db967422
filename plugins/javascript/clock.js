// The time, no finer than a millisecond. In plugin.yaml: `imports: [clock]`. The engine's own `Date` stands still.

import host from "sluis:plugin/clock@1.0.0";

/** Milliseconds since 1970-01-01T00:00:00Z. @returns {number} */
export const now = () => host.now();
