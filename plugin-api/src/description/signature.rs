//! The types of the functions that can be methods.

use std::marker::PhantomData;

use super::plain_schema::NoParams;
use super::schema_choice::TypeOf;
use crate::BytesRef;
use crate::handler::{Asynchronous, Borrowed, Direct, WithContext, WithoutParams};

/// The types in the `Form` of a function.
pub trait Signature {
    /// The params; [`NoParams`] if it takes none.
    type Params;
    /// The result.
    type Result;
}

impl<P, R, E> Signature for (P, R, E) {
    type Params = P;
    type Result = R;
}

impl<P, R, E> Signature for (P, R, E, WithContext) {
    type Params = P;
    type Result = R;
}

impl<R, E> Signature for WithoutParams<(R, E)> {
    type Params = NoParams;
    type Result = R;
}

impl<R, E> Signature for WithoutParams<(R, E, WithContext)> {
    type Params = NoParams;
    type Result = R;
}

impl<R, E> Signature for Borrowed<(R, E)> {
    type Params = BytesRef<'static>;
    type Result = R;
}

impl<R, E> Signature for Borrowed<(R, E, WithContext)> {
    type Params = BytesRef<'static>;
    type Result = R;
}

/// The types of a method of `S`, from its function.
#[derive(Debug)]
pub struct Types<S>(PhantomData<S>);

/// The types of params and result.
pub(super) type TypesOf<Form> = (TypeOf<<Form as Signature>::Params>, TypeOf<<Form as Signature>::Result>);

impl<S> Types<S> {
    /// Returns the types of an `inline` or `blocking` method.
    pub fn direct<Form: Signature>(_: impl Direct<S, Form>) -> TypesOf<Form> {
        (TypeOf::new(), TypeOf::new())
    }

    /// Returns the types of an `async` method.
    pub fn asynchronous<Form: Signature>(_: impl Asynchronous<S, Form>) -> TypesOf<Form> {
        (TypeOf::new(), TypeOf::new())
    }
}
