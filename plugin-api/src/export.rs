//! The macro that exports a plugin type from a cdylib: manifest, root module and methods from one
//! list.

/// The symbol of the root module, as abi_stable mangles it. A test compares it with abi_stable's
/// constant.
#[doc(hidden)]
#[macro_export]
macro_rules! __root_symbol {
    () => {
        "_1as_0lib_1header_0root_bmodule_bloader"
    };
}

/// Exports a type that implements [`Plugin`](crate::Plugin), with its methods.
///
/// ```ignore
/// export_plugin!(Device {
///     // fn update(&self, params: Update) -> Result<Status, Error>
///     inline "device.status.update" => update,
///     // async fn report(self: Arc<Self>, params: Wait) -> Result<Status, Error>
///     async "device.report" => report,
///     // `blocking` is the default.
///     "device.export" => export,
/// });
/// ```
///
/// The last parameter of a function may be a [`Context`](crate::Context): `&Context<'_>`, or
/// `Context<'static>` for `async`. A function without params accepts a call without params, and
/// `null`, `[]` and `{}`. Method names are checked at compile time.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ident { $($list:tt)* }) => {
        $crate::export_plugin!(@list $plugin [] $($list)*);
    };
    (@list $plugin:ident [$($done:tt)*] inline $name:literal => $method:ident $(, $($rest:tt)*)?) => {
        $crate::export_plugin!(@list $plugin [$($done)* (Inline inline $name $method)] $($($rest)*)?);
    };
    (@list $plugin:ident [$($done:tt)*] async $name:literal => $method:ident $(, $($rest:tt)*)?) => {
        $crate::export_plugin!(@list $plugin [$($done)* (Async asynchronous $name $method)] $($($rest)*)?);
    };
    (@list $plugin:ident [$($done:tt)*] blocking $name:literal => $method:ident $(, $($rest:tt)*)?) => {
        $crate::export_plugin!(@list $plugin [$($done)* (Blocking blocking $name $method)] $($($rest)*)?);
    };
    (@list $plugin:ident [$($done:tt)*] $name:literal => $method:ident $(, $($rest:tt)*)?) => {
        $crate::export_plugin!(@list $plugin [$($done)* (Blocking blocking $name $method)] $($($rest)*)?);
    };
    (@list $plugin:ident [$(($run:ident $add:ident $name:literal $method:ident))*]) => {
        const _: () = {
            #[cfg(panic = "unwind")]
            const PANIC: &str = "unwind";
            #[cfg(not(panic = "unwind"))]
            const PANIC: &str = "abort";
            const PACKAGE: &str = env!("CARGO_PKG_NAME");
            const VERSION: &str = env!("CARGO_PKG_VERSION");
            const METHODS: &[(&str, $crate::Run)] = &[$(($name, $crate::Run::$run)),*];
            const MIN_HOST: &str = <$plugin as $crate::Plugin>::MIN_HOST;
            const STATE: Option<u32> = <$plugin as $crate::Plugin>::STATE;
            const LEN: usize = $crate::manifest::length(MIN_HOST, PACKAGE, VERSION, PANIC, STATE, METHODS);
            const TEXT: [u8; LEN] =
                $crate::manifest::bytes::<LEN>(MIN_HOST, PACKAGE, VERSION, PANIC, STATE, METHODS);

            impl $crate::Exported for $plugin {
                const MANIFEST: &'static str = match ::core::str::from_utf8(&TEXT) {
                    Ok(text) => text,
                    Err(_) => panic!("the manifest is not UTF-8"),
                };

                fn methods() -> $crate::Methods<Self> {
                    $crate::Methods::new()$(.$add($name, <$plugin>::$method))*
                }
            }

            #[used]
            #[unsafe(link_section = ".note.jackfield")]
            static NOTE: $crate::manifest::Note<LEN> = $crate::manifest::Note::new(TEXT);

            #[unsafe(export_name = $crate::__root_symbol!())]
            static ROOT: $crate::__export::LibHeader = $crate::__export::header::<$plugin>();
        };
    };
}
