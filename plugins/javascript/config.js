// The tenant's settings and secrets. In plugin.yaml: `imports: [config]`.

import host from "sluis:plugin/config@1.0.0";

/**
 * The value of `key`; undefined where there is none.
 * @param {string} key
 * @returns {string | undefined}
 */
export const get = (key) => host.get(key) ?? undefined;
