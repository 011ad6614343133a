//! The members of a document that OpenRPC does not define. OpenRPC permits those whose names begin
//! with `x-`.

/// Of a method: the schema of all its params. Missing if it is not known.
pub(super) const PARAMS_SCHEMA: &str = "x-jackfield-params-schema";

/// Of a method: [`RESULT_UNKNOWN`] if the schema of its result is not known. A result needs a
/// schema, and the one that admits everything could also be that of its type.
pub(super) const RESULT: &str = "x-jackfield-result";
pub(super) const RESULT_UNKNOWN: &str = "unknown";

/// Of a method whose params are one value and no list of named values, and of an example of one:
/// [`PARAMS_VALUE`]. Of an example without params: [`PARAMS_NONE`].
pub(super) const PARAMS: &str = "x-jackfield-params";
pub(super) const PARAMS_VALUE: &str = "value";
pub(super) const PARAMS_NONE: &str = "none";

/// Of a method: `true` if running the same request twice is harmless.
pub(super) const IDEMPOTENT: &str = "x-jackfield-idempotent";

/// Of a method: why it should not be used any more.
pub(super) const DEPRECATED: &str = "x-jackfield-deprecated";

/// Of the schema of params or of a result that is a reference: the component is the schema itself,
/// which refers to itself, and not one of its definitions.
pub(super) const ROOT: &str = "x-jackfield-root";

/// Of the document: the names that definitions have in the schemas, by the names of their
/// components, as far as they differ.
pub(super) const NAMES: &str = "x-jackfield-names";

/// The name of the only content descriptor of params that are one value.
pub(super) const VALUE_NAME: &str = "params";

/// The beginning of a reference to a component.
pub(super) const COMPONENTS: &str = "#/components/schemas/";
