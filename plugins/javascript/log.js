// Lines for the tenant's log. In plugin.yaml: `imports: [log]`.

import host from "sluis:plugin/log@1.0.0";

/** What the developer wants to know. @param {string} message */
export const debug = (message) => host.write("debug", String(message));
/** What happened. @param {string} message */
export const info = (message) => host.write("info", String(message));
/** What somebody should look at. @param {string} message */
export const warn = (message) => host.write("warn", String(message));
/** What went wrong. @param {string} message */
export const error = (message) => host.write("error", String(message));
