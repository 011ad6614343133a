//! From the type of params or a result to its schema, if it has one.
//!
//! A method call in the macro decides: the compiler takes the first of the three traits here that
//! the type has, because each is implemented behind one reference less than the previous one. A
//! type without [`JsonSchema`] is no error that way. Plain types come first, because the generator
//! of schemars makes a small plugin a fifth larger.

use std::marker::PhantomData;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

use super::output::{self, DoesNotFit};
use super::plain_schema::PlainSchema;
use super::type_schema::{Direction, TypeSchema};
use crate::abi::Out;

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
        T::SCHEMA
    }
}

/// The second choice: a schema that its author derives.
pub trait DerivedSchema {
    /// Returns the schema.
    fn schema(&self) -> TypeSchema;
}

impl<T: ?Sized + JsonSchema> DerivedSchema for &TypeOf<T> {
    fn schema(&self) -> TypeSchema {
        TypeSchema::Derived(write_derived::<T>)
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

fn write_derived<T: ?Sized + JsonSchema>(out: &mut Out<'_>, direction: Direction) -> Result<(), DoesNotFit> {
    let settings = match direction {
        Direction::Params => SchemaSettings::draft2020_12().for_deserialize(),
        Direction::Result => SchemaSettings::draft2020_12().for_serialize(),
    };
    let schema = settings.into_generator().into_root_schema_for::<T>();
    output::write_json(&schema, out)
}
