//! The macros that read the words behind a method in `export_plugin!`, and describe the method.

/// Makes a plugin of one method, to test what the macro accepts:
///
/// ```
/// # use jackfield_plugin_api::prelude::*;
/// # struct P; impl P { fn f(&self) -> Result<(), Error> { Ok(()) } }
/// # impl Plugin for P { fn start(_: &Host) -> Result<Self, Error> { Ok(P) } }
/// const GONE: i64 = 410;
/// export_plugin!(P { /** Waits. */ inline "p.f" => f [
///     idempotent, deprecated = "use p.g", errors(404 = "unknown", -1 = "lost", GONE = "gone",),
///     example(=> null), example(null => null), example({"a": [1, -2]}),
/// ], });
/// ```
///
/// It refuses an unknown word:
///
/// ```compile_fail
/// # use jackfield_plugin_api::prelude::*;
/// # struct P; impl P { fn f(&self) -> Result<(), Error> { Ok(()) } }
/// # impl Plugin for P { fn start(_: &Host) -> Result<Self, Error> { Ok(P) } }
/// export_plugin!(P { inline "p.f" => f [retryable] });
/// ```
///
/// It refuses a word twice:
///
/// ```compile_fail
/// # use jackfield_plugin_api::prelude::*;
/// # struct P; impl P { fn f(&self) -> Result<(), Error> { Ok(()) } }
/// # impl Plugin for P { fn start(_: &Host) -> Result<Self, Error> { Ok(P) } }
/// export_plugin!(P { inline "p.f" => f [idempotent, errors(1 = "a"), idempotent] });
/// ```
///
/// It refuses a text twice:
///
/// ```compile_fail
/// # use jackfield_plugin_api::prelude::*;
/// # struct P; impl P { fn f(&self) -> Result<(), Error> { Ok(()) } }
/// # impl Plugin for P { fn start(_: &Host) -> Result<Self, Error> { Ok(P) } }
/// export_plugin!(P { inline "p.f" => f [deprecated = "a", deprecated = "b"] });
/// ```
///
/// It refuses a list of errors twice:
///
/// ```compile_fail
/// # use jackfield_plugin_api::prelude::*;
/// # struct P; impl P { fn f(&self) -> Result<(), Error> { Ok(()) } }
/// # impl Plugin for P { fn start(_: &Host) -> Result<Self, Error> { Ok(P) } }
/// export_plugin!(P { inline "p.f" => f [errors(1 = "a"), errors(2 = "b")] });
/// ```
///
/// It refuses a missing comma:
///
/// ```compile_fail
/// # use jackfield_plugin_api::prelude::*;
/// # struct P; impl P { fn f(&self) -> Result<(), Error> { Ok(()) } }
/// # impl Plugin for P { fn start(_: &Host) -> Result<Self, Error> { Ok(P) } }
/// export_plugin!(P { inline "p.f" => f [idempotent deprecated = "a"] });
/// ```
///
/// It refuses an incomplete word:
///
/// ```compile_fail
/// # use jackfield_plugin_api::prelude::*;
/// # struct P; impl P { fn f(&self) -> Result<(), Error> { Ok(()) } }
/// # impl Plugin for P { fn start(_: &Host) -> Result<Self, Error> { Ok(P) } }
/// export_plugin!(P { inline "p.f" => f [deprecated] });
/// ```
///
/// It refuses a reserved code:
///
/// ```compile_fail
/// # use jackfield_plugin_api::prelude::*;
/// # struct P; impl P { fn f(&self) -> Result<(), Error> { Ok(()) } }
/// # impl Plugin for P { fn start(_: &Host) -> Result<Self, Error> { Ok(P) } }
/// export_plugin!(P { inline "p.f" => f [errors(-32001 = "a")] });
/// ```
///
/// It refuses a code twice:
///
/// ```compile_fail
/// # use jackfield_plugin_api::prelude::*;
/// # struct P; impl P { fn f(&self) -> Result<(), Error> { Ok(()) } }
/// # impl Plugin for P { fn start(_: &Host) -> Result<Self, Error> { Ok(P) } }
/// export_plugin!(P { inline "p.f" => f [errors(1 = "a", 2 = "b", 1 = "c")] });
/// ```
///
/// It refuses an example without a value:
///
/// ```compile_fail
/// # use jackfield_plugin_api::prelude::*;
/// # struct P; impl P { fn f(&self) -> Result<(), Error> { Ok(()) } }
/// # impl Plugin for P { fn start(_: &Host) -> Result<Self, Error> { Ok(P) } }
/// export_plugin!(P { inline "p.f" => f [example()] });
/// ```
///
/// It refuses another way to run:
///
/// ```compile_fail
/// # use jackfield_plugin_api::prelude::*;
/// # struct P; impl P { fn f(&self) -> Result<(), Error> { Ok(()) } }
/// # impl Plugin for P { fn start(_: &Host) -> Result<Self, Error> { Ok(P) } }
/// export_plugin!(P { threaded "p.f" => f });
/// ```
#[cfg(doctest)]
struct Words;

/// Makes the [`Description`](crate::Description) of a method.
///
/// The brackets collect what has been read: the doc comment, whether `idempotent` was there, the
/// text of `deprecated`, the errors, and the examples.
#[doc(hidden)]
#[macro_export]
macro_rules! __describe {
    ($plugin:ident, $run:tt $method:ident, $docs:tt $idempotent:tt $deprecated:tt $errors:tt $examples:tt,) => {
        $crate::Description {
            facts: $crate::__facts!($docs $idempotent $deprecated $errors),
            schemas: || $crate::__schemas!($plugin, $run $method),
            examples: $crate::__examples!($examples),
        }
    };

    ($plugin:ident, $run:tt $method:ident, $docs:tt [false] $deprecated:tt $errors:tt $examples:tt,
        idempotent $(, $($rest:tt)*)?
    ) => {
        $crate::__describe!($plugin, $run $method, $docs [true] $deprecated $errors $examples, $($($rest)*)?)
    };
    ($plugin:ident, $run:tt $method:ident, $docs:tt $idempotent:tt [] $errors:tt $examples:tt,
        deprecated = $text:expr $(, $($rest:tt)*)?
    ) => {
        $crate::__describe!($plugin, $run $method, $docs $idempotent [$text] $errors $examples, $($($rest)*)?)
    };
    ($plugin:ident, $run:tt $method:ident, $docs:tt $idempotent:tt $deprecated:tt [] $examples:tt,
        errors($($errors:tt)+) $(, $($rest:tt)*)?
    ) => {
        $crate::__describe!(
            $plugin, $run $method, $docs $idempotent $deprecated [$($errors)+] $examples, $($($rest)*)?
        )
    };
    ($plugin:ident, $run:tt $method:ident, $docs:tt $idempotent:tt $deprecated:tt $errors:tt [$($examples:tt)*],
        example($($example:tt)+) $(, $($rest:tt)*)?
    ) => {
        $crate::__describe!(
            $plugin, $run $method, $docs $idempotent $deprecated $errors [$($examples)* ($($example)+)],
            $($($rest)*)?
        )
    };

    ($plugin:ident, $run:tt $method:ident, $docs:tt [true] $deprecated:tt $errors:tt $examples:tt,
        idempotent $($rest:tt)*
    ) => {
        compile_error!(concat!("`idempotent` occurs twice for `", stringify!($method), "`"))
    };
    ($plugin:ident, $run:tt $method:ident, $docs:tt $idempotent:tt [$text:expr] $errors:tt $examples:tt,
        deprecated $($rest:tt)*
    ) => {
        compile_error!(concat!("`deprecated` occurs twice for `", stringify!($method), "`"))
    };
    ($plugin:ident, $run:tt $method:ident, $docs:tt $idempotent:tt $deprecated:tt [$($errors:tt)+] $examples:tt,
        errors $($rest:tt)*
    ) => {
        compile_error!(concat!("`errors` occurs twice for `", stringify!($method), "`"))
    };
    ($plugin:ident, $run:tt $method:ident, $docs:tt $idempotent:tt $deprecated:tt $errors:tt $examples:tt,
        $word:tt $($rest:tt)*
    ) => {
        compile_error!(concat!(
            "cannot read `", stringify!($word), "` behind `", stringify!($method), "`: expected `idempotent`, ",
            "`deprecated = \"..\"`, `errors(404 = \"..\")` or `example({..} => {..})`, separated by commas",
        ))
    };
}

/// Writes what the author says in words, if it is anything.
#[doc(hidden)]
#[macro_export]
macro_rules! __facts {
    ([] [false] [] []) => { None };
    ([$($doc:expr),*] [$idempotent:literal] [$($deprecated:expr)?] [$($errors:tt)*]) => {
        Some(|takes_params, out| {
            const ERRORS: &[(i64, &str)] =
                $crate::description::declared_errors($crate::__errors!([] $($errors)*));
            const FACTS: $crate::description::Facts = $crate::description::Facts {
                docs: &[$($doc),*],
                idempotent: $idempotent,
                deprecated: $crate::__option!($($deprecated)?),
                errors: ERRORS,
            };
            FACTS.write(takes_params, out)
        })
    };
}

/// An `Option`, by whether there is something.
#[doc(hidden)]
#[macro_export]
macro_rules! __option {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

/// A list of codes with texts.
#[doc(hidden)]
#[macro_export]
macro_rules! __errors {
    ([$($done:tt)*]) => { &[$($done)*] };
    ([$($done:tt)*] $code:literal = $text:expr $(, $($rest:tt)*)?) => {
        $crate::__errors!([$($done)* ($code, $text),] $($($rest)*)?)
    };
    ([$($done:tt)*] $code:path = $text:expr $(, $($rest:tt)*)?) => {
        $crate::__errors!([$($done)* ($code, $text),] $($($rest)*)?)
    };
    ([$($done:tt)*] $($rest:tt)*) => {
        compile_error!("expected `errors(404 = \"the device is unknown\", 507 = \"..\")`")
    };
}

/// Finds the schemas of the params and the result of a method.
#[doc(hidden)]
#[macro_export]
macro_rules! __schemas {
    ($plugin:ident, $run:tt $method:ident) => {{
        #[allow(unused_imports, reason = "which of them is used depends on the types")]
        use $crate::description::{DerivedSchema as _, NoSchema as _, WrittenSchema as _};
        let (params, result) = $crate::__types!($run $plugin, $method);
        ((&&&params).schema(), (&&&result).schema())
    }};
}

/// Returns the types of a method.
#[doc(hidden)]
#[macro_export]
macro_rules! __types {
    ((async) $plugin:ident, $method:ident) => {
        $crate::description::Types::<$plugin>::asynchronous(<$plugin>::$method)
    };
    (($($direct:ident)?) $plugin:ident, $method:ident) => {
        $crate::description::Types::<$plugin>::direct(<$plugin>::$method)
    };
}

/// Writes the examples, if there are any.
#[doc(hidden)]
#[macro_export]
macro_rules! __examples {
    ([]) => { None };
    ([$(($($example:tt)+))+]) => {
        Some(|out| {
            $crate::description::write_examples(&[$($crate::__example!([] $($example)+)),+], out)
        })
    };
}

/// Makes an example of `params => result`, `params` or `=> result`.
#[doc(hidden)]
#[macro_export]
macro_rules! __example {
    ([$($params:tt)*] => $($result:tt)+) => {
        $crate::description::Example {
            params: $crate::__json!($($params)*),
            result: $crate::__json!($($result)+),
        }
    };
    ([$($params:tt)*] $next:tt $($rest:tt)*) => {
        $crate::__example!([$($params)* $next] $($rest)*)
    };
    ([$($params:tt)+]) => {
        $crate::description::Example { params: $crate::__json!($($params)+), result: None }
    };
}

/// A JSON value, if there is one.
#[doc(hidden)]
#[macro_export]
macro_rules! __json {
    () => { None };
    ($($json:tt)+) => { Some($crate::serde_json::json!($($json)+)) };
}
