//! What wit-bindgen makes of `wit/`: one module per hook, so that a component exports the hooks it names and no other.
//! The types and capabilities are made once and shared.
#![allow(missing_docs, unsafe_code, clippy::all)]

/// World `request`, and the types and capabilities that the other modules share.
pub mod request {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "request",
        generate_all,
        generate_unused_types: true,
        pub_export_macro: true,
        export_macro_name: "export_request",
        default_bindings_module: "sluis_plugin::bindings::request",
    });
}

/// World `request-head`.
pub mod request_head {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "request-head",
        with: {
            "sluis:plugin/types@1.0.0": crate::bindings::request::sluis::plugin::types,
            "sluis:plugin/panic@1.0.0": crate::bindings::request::sluis::plugin::panic,
            "sluis:plugin/log@1.0.0": crate::bindings::request::sluis::plugin::log,
            "sluis:plugin/config@1.0.0": crate::bindings::request::sluis::plugin::config,
            "sluis:plugin/clock@1.0.0": crate::bindings::request::sluis::plugin::clock,
            "sluis:plugin/metrics@1.0.0": crate::bindings::request::sluis::plugin::metrics,
            "sluis:plugin/kv@1.0.0": crate::bindings::request::sluis::plugin::kv,
            "sluis:plugin/http-client@1.0.0": crate::bindings::request::sluis::plugin::http_client,
        },
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_request_head",
        default_bindings_module: "sluis_plugin::bindings::request_head",
    });
}

/// World `response`.
pub mod response {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "response",
        with: {
            "sluis:plugin/types@1.0.0": crate::bindings::request::sluis::plugin::types,
            "sluis:plugin/panic@1.0.0": crate::bindings::request::sluis::plugin::panic,
            "sluis:plugin/log@1.0.0": crate::bindings::request::sluis::plugin::log,
            "sluis:plugin/config@1.0.0": crate::bindings::request::sluis::plugin::config,
            "sluis:plugin/clock@1.0.0": crate::bindings::request::sluis::plugin::clock,
            "sluis:plugin/metrics@1.0.0": crate::bindings::request::sluis::plugin::metrics,
            "sluis:plugin/kv@1.0.0": crate::bindings::request::sluis::plugin::kv,
            "sluis:plugin/http-client@1.0.0": crate::bindings::request::sluis::plugin::http_client,
        },
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_response",
        default_bindings_module: "sluis_plugin::bindings::response",
    });
}

/// World `event`.
pub mod event {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "event",
        with: {
            "sluis:plugin/types@1.0.0": crate::bindings::request::sluis::plugin::types,
            "sluis:plugin/panic@1.0.0": crate::bindings::request::sluis::plugin::panic,
            "sluis:plugin/log@1.0.0": crate::bindings::request::sluis::plugin::log,
            "sluis:plugin/config@1.0.0": crate::bindings::request::sluis::plugin::config,
            "sluis:plugin/clock@1.0.0": crate::bindings::request::sluis::plugin::clock,
            "sluis:plugin/metrics@1.0.0": crate::bindings::request::sluis::plugin::metrics,
            "sluis:plugin/kv@1.0.0": crate::bindings::request::sluis::plugin::kv,
            "sluis:plugin/http-client@1.0.0": crate::bindings::request::sluis::plugin::http_client,
        },
        generate_all,
        generate_unused_types: true,
        pub_export_macro: true,
        export_macro_name: "export_event",
        default_bindings_module: "sluis_plugin::bindings::event",
    });
}
