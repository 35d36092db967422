// Counters that the tenant's settings declare. In plugin.yaml: `imports: [metrics]`.

import host from "sluis:plugin/metrics@1.0.0";

/** Adds to the counter `name`. @param {string} name @param {number} value whole, at least 0 */
export const add = (name, value = 1) => host.add(name, value);
