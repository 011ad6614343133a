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
///     /// Stores the status of a device.
///     ///
///     /// Further paragraphs are the description.
///     // fn update(&self, params: Update) -> Result<Status, Error>
///     inline "device.status.update" => update [
///         errors(507 = "the limit of devices is reached"),
///         example({ "deviceId": "d-1", "status": "online" } => { "sequence": 1 }),
///     ],
///     // async fn report(self: Arc<Self>, params: Wait) -> Result<Status, Error>
///     async "device.report" => report [idempotent, deprecated = "use device.next"],
///     // `blocking` is the default.
///     "device.export" => export,
/// });
/// ```
///
/// The last parameter of a function may be a [`Context`](crate::Context): `&Context<'_>`, or
/// `Context<'static>` for `async`. A function without params accepts a call without params, and
/// `null`, `[]` and `{}`. Method names are checked at compile time.
///
/// The doc comment and the words in brackets describe the method to clients. Each is optional.
/// `example(..)` may occur several times, and may have the params alone, or `=> RESULT` alone. The
/// types of params and result are described, too, if they derive [`JsonSchema`](crate::JsonSchema).
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ident {
        $($(#[doc = $doc:expr])* $($run:ident)? $name:literal => $method:ident $([$($words:tt)*])?),* $(,)?
    }) => {
        const _: () = {
            #[cfg(panic = "unwind")]
            const PANIC: &str = "unwind";
            #[cfg(not(panic = "unwind"))]
            const PANIC: &str = "abort";
            const PACKAGE: &str = env!("CARGO_PKG_NAME");
            const VERSION: &str = env!("CARGO_PKG_VERSION");
            const METHODS: &[(&str, $crate::Run)] = &[$(($name, $crate::__run!($($run)?))),*];
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

                const DESCRIPTIONS: &'static [$crate::Description] = &[$(
                    $crate::__describe!(
                        $plugin, ($($run)?) $method, [$($doc),*] [false] [] [] [], $($($words)*)?
                    )
                ),*];

                fn methods() -> $crate::Methods<Self> {
                    let methods = $crate::Methods::new();
                    $(let methods = $crate::__add_method!(methods, ($($run)?) $name, <$plugin>::$method);)*
                    methods
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

/// The way to run that a word stands for.
#[doc(hidden)]
#[macro_export]
macro_rules! __run {
    () => {
        $crate::Run::Blocking
    };
    (blocking) => {
        $crate::Run::Blocking
    };
    (inline) => {
        $crate::Run::Inline
    };
    (async) => {
        $crate::Run::Async
    };
    ($other:ident) => {
        compile_error!(concat!(
            "`",
            stringify!($other),
            "` is no way to run a method: expected `inline`, `blocking` or `async`",
        ))
    };
}

/// Adds a method to those of the plugin.
#[doc(hidden)]
#[macro_export]
macro_rules! __add_method {
    ($methods:ident, (inline) $($method:tt)*) => { $methods.inline($($method)*) };
    ($methods:ident, (async) $($method:tt)*) => { $methods.asynchronous($($method)*) };
    ($methods:ident, ($($blocking:ident)?) $($method:tt)*) => { $methods.blocking($($method)*) };
}
