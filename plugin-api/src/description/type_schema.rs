//! From the type of params or a result to its schema, if it has one.
//!
//! A method call in the macro decides: the compiler takes the first of the three traits here that
//! the type has, because each is implemented behind one reference less than the one before. A type
//! without [`JsonSchema`] is no error that way. Types of the standard library come first, because
//! schemars would cost a plugin without schemas of its own many times its size.

use std::marker::PhantomData;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

use super::Direction;
use super::plain_schema::PlainSchema;
use crate::Error;
use crate::abi::Out;

/// Writes a schema as a document.
pub(super) type WriteSchema = fn(&mut Out<'_>, Direction) -> Result<(), Error>;

/// The schema of a type.
#[derive(Debug, Clone, Copy)]
pub enum TypeSchema {
    /// The method takes no params.
    NoParams,
    /// The type has none.
    Unknown,
    /// The type has one.
    Known(WriteSchema),
}

impl TypeSchema {
    /// Writes the schema, or nothing.
    pub(super) fn write(self, out: &mut Out<'_>, direction: Direction) -> Result<(), Error> {
        match self {
            Self::NoParams | Self::Unknown => Ok(()),
            Self::Known(write) => write(out, direction),
        }
    }
}

/// Names a type in a value.
#[derive(Debug)]
pub struct TypeOf<T: ?Sized>(PhantomData<T>);

impl<T: ?Sized> TypeOf<T> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

/// The first choice: a schema that is written without schemars.
pub trait WrittenSchema {
    /// Returns the schema.
    fn schema(&self) -> TypeSchema;
}

impl<T: ?Sized + PlainSchema> WrittenSchema for &&TypeOf<T> {
    fn schema(&self) -> TypeSchema {
        T::schema()
    }
}

/// The second choice: a schema that its author derives.
pub trait DerivedSchema {
    /// Returns the schema.
    fn schema(&self) -> TypeSchema;
}

impl<T: ?Sized + JsonSchema> DerivedSchema for &TypeOf<T> {
    fn schema(&self) -> TypeSchema {
        TypeSchema::Known(write_derived::<T>)
    }
}

/// The last choice: no schema.
pub trait NoSchema {
    /// Returns the schema.
    fn schema(&self) -> TypeSchema;
}

impl<T: ?Sized> NoSchema for TypeOf<T> {
    fn schema(&self) -> TypeSchema {
        TypeSchema::Unknown
    }
}

fn write_derived<T: ?Sized + JsonSchema>(out: &mut Out<'_>, direction: Direction) -> Result<(), Error> {
    let settings = match direction {
        Direction::Params => SchemaSettings::draft2020_12().for_deserialize(),
        Direction::Result => SchemaSettings::draft2020_12().for_serialize(),
    };
    let schema = settings.into_generator().into_root_schema_for::<T>();
    Ok(serde_json::to_writer(out, &schema)?)
}
