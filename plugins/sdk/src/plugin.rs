/// Exports the hooks of a plugin, and gives it the lean runtime unless it asks for `std`.
///
/// Hooks are `on_request` and `on_request_head` (`fn(Request) -> impl Into<Decision>`; a `Result<Decision, Problem>`
/// will do), `on_response` (`fn(Response) -> ResponseChange`) and `on_event` (a type that is
/// [`OnEvent`](crate::event::OnEvent)). One call per component.
///
/// ```text
/// sluis_plugin::plugin! { on_request: decide, on_response: answer }   // lean; the crate is no_std on wasm
/// sluis_plugin::plugin! { std, on_request: decide }                   // std's allocator, panics to WASI's stderr
/// ```
#[macro_export]
macro_rules! plugin {
    (std, $($hook:ident: $function:path),+ $(,)?) => {
        $($crate::__hook!($hook, $function);)+
    };
    ($($hook:ident: $function:path),+ $(,)?) => {
        $crate::__lean_runtime!();
        $($crate::__hook!($hook, $function);)+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __hook {
    (on_request, $function:path) => {
        const _: () = {
            #[allow(dead_code)]
            struct Hook;
            impl $crate::bindings::request::exports::sluis::plugin::on_request::Guest for Hook {
                fn on_request(request: $crate::Request) -> $crate::Decision {
                    $crate::Decision::from($function(request))
                }
            }
            #[cfg(target_family = "wasm")]
    $crate::bindings::request::export_request!(Hook with_types_in $crate::bindings::request);
        };
    };
    (on_request_head, $function:path) => {
        const _: () = {
            #[allow(dead_code)]
            struct Hook;
            impl $crate::bindings::request_head::exports::sluis::plugin::on_request_head::Guest for Hook {
                fn on_request_head(request: $crate::Request) -> $crate::Decision {
                    $crate::Decision::from($function(request))
                }
            }
            #[cfg(target_family = "wasm")]
    $crate::bindings::request_head::export_request_head!(Hook with_types_in $crate::bindings::request_head);
        };
    };
    (on_response, $function:path) => {
        const _: () = {
            #[allow(dead_code)]
            struct Hook;
            impl $crate::bindings::response::exports::sluis::plugin::on_response::Guest for Hook {
                fn on_response(response: $crate::Response) -> $crate::ResponseChange {
                    $function(response)
                }
            }
            #[cfg(target_family = "wasm")]
    $crate::bindings::response::export_response!(Hook with_types_in $crate::bindings::response);
        };
    };
    (on_event, $hook:path) => {
        const _: () = {
            #[allow(dead_code)]
            struct Hook;
            impl $crate::bindings::event::exports::sluis::plugin::on_event::Guest for Hook {
                fn shape(event: $crate::event::Event) -> $crate::event::Preparation {
                    <$hook as $crate::event::OnEvent>::shape(event)
                }

                fn judge(event: $crate::event::Event, answer: $crate::event::Answer) -> Option<$crate::event::Verdict> {
                    <$hook as $crate::event::OnEvent>::judge(event, answer)
                }
            }
            #[cfg(target_family = "wasm")]
    $crate::bindings::event::export_event!(Hook with_types_in $crate::bindings::event);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __lean_runtime {
    () => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            #[global_allocator]
            static ALLOCATOR: $crate::runtime::Bump = $crate::runtime::Bump::new();

            #[panic_handler]
            fn panic(info: &::core::panic::PanicInfo<'_>) -> ! {
                $crate::runtime::panicked(info)
            }

            // How the host puts arguments into this memory.
            #[unsafe(export_name = "cabi_realloc")]
            unsafe extern "C" fn cabi_realloc(old: *mut u8, old_len: usize, align: usize, new_len: usize) -> *mut u8 {
                unsafe { $crate::runtime::realloc_for_host(&ALLOCATOR, old, old_len, align, new_len) }
            }
        };
    };
}
