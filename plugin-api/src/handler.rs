//! The functions that can be methods: with or without params and context, direct or async.
//!
//! The parameter `Form` of the traits contains the types of the function. It is different for each
//! kind of function, so that one type can implement a trait for several kinds, and the compiler
//! finds the right one.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::abi::{Content, Out};
use crate::{BytesRef, Context, Error, content_writer, params};

/// A function that is an `inline` or `blocking` method:
/// `fn(&S, P) -> Result<R, E>` or `fn(&S, P, &Context) -> Result<R, E>`, each also without `P`, and
/// with [`BytesRef`] as `P`.
pub trait Direct<S, Form>: Send + Sync + 'static {
    /// Reads the params, runs the function, and writes its result.
    ///
    /// # Errors
    ///
    /// The params do not fit, the function failed, or its result cannot be written.
    fn run(&self, plugin: &S, params: &[u8], cx: &Context<'_>, out: &mut Out<'_>) -> Result<(), Error>;
}

/// A function that is an `async` method: `async fn(Arc<S>, P) -> Result<R, E>` or `async fn(Arc<S>,
/// P, Context<'static>) -> Result<R, E>`, each also without `P`.
pub trait Asynchronous<S, Form>: Send + Sync + 'static {
    /// Reads the params and creates the future.
    ///
    /// # Errors
    ///
    /// The params do not fit.
    fn begin(
        &self,
        plugin: &Arc<S>,
        params: &[u8],
        cx: Context<'static>,
    ) -> Result<Pin<Box<dyn Begun>>, Error>;
}

/// A begun `async` method, which writes its result when it is ready.
#[doc(hidden)]
pub trait Begun: Send {
    /// Polls the future of the method once.
    fn poll_begun(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        out: &mut Out<'_>,
    ) -> Poll<Result<(), Error>>;
}

fn write_result(result: &impl Serialize, out: &mut Out<'_>) -> Result<(), Error> {
    let limit = out.room();
    match content_writer::write(result, out) {
        Ok(Content::Json) => Ok(()),
        Ok(Content::Bytes) => {
            out.set_content(Content::Bytes);
            Ok(())
        }
        Err(error) => Err(not_written(error, limit)),
    }
}

#[cold]
fn not_written(error: serde_json::Error, limit: usize) -> Error {
    if error.is_io() { Error::result_too_large(limit) } else { error.into() }
}

impl<S, P, R, E, F> Direct<S, (P, R, E)> for F
where
    F: Fn(&S, P) -> Result<R, E> + Send + Sync + 'static,
    P: DeserializeOwned,
    R: Serialize,
    E: Into<Error>,
{
    fn run(&self, plugin: &S, params: &[u8], cx: &Context<'_>, out: &mut Out<'_>) -> Result<(), Error> {
        let result = self(plugin, params::read(params, cx.content())?).map_err(Into::into)?;
        write_result(&result, out)
    }
}

/// Marks functions that take a context.
pub struct WithContext;

/// Marks functions that take no params.
pub struct WithoutParams<T>(PhantomData<T>);

impl<S, P, R, E, F> Direct<S, (P, R, E, WithContext)> for F
where
    F: Fn(&S, P, &Context<'_>) -> Result<R, E> + Send + Sync + 'static,
    P: DeserializeOwned,
    R: Serialize,
    E: Into<Error>,
{
    fn run(&self, plugin: &S, params: &[u8], cx: &Context<'_>, out: &mut Out<'_>) -> Result<(), Error> {
        let result = self(plugin, params::read(params, cx.content())?, cx).map_err(Into::into)?;
        write_result(&result, out)
    }
}

impl<S, R, E, F> Direct<S, WithoutParams<(R, E)>> for F
where
    F: Fn(&S) -> Result<R, E> + Send + Sync + 'static,
    R: Serialize,
    E: Into<Error>,
{
    fn run(&self, plugin: &S, params: &[u8], cx: &Context<'_>, out: &mut Out<'_>) -> Result<(), Error> {
        params::expect_none(params, cx.content())?;
        write_result(&self(plugin).map_err(Into::into)?, out)
    }
}

impl<S, R, E, F> Direct<S, WithoutParams<(R, E, WithContext)>> for F
where
    F: Fn(&S, &Context<'_>) -> Result<R, E> + Send + Sync + 'static,
    R: Serialize,
    E: Into<Error>,
{
    fn run(&self, plugin: &S, params: &[u8], cx: &Context<'_>, out: &mut Out<'_>) -> Result<(), Error> {
        params::expect_none(params, cx.content())?;
        write_result(&self(plugin, cx).map_err(Into::into)?, out)
    }
}

/// Marks functions whose params are borrowed bytes.
pub struct Borrowed<T>(PhantomData<T>);

impl<S, R, E, F> Direct<S, Borrowed<(R, E)>> for F
where
    F: Fn(&S, BytesRef<'_>) -> Result<R, E> + Send + Sync + 'static,
    R: Serialize,
    E: Into<Error>,
{
    fn run(&self, plugin: &S, params: &[u8], cx: &Context<'_>, out: &mut Out<'_>) -> Result<(), Error> {
        let bytes = params::borrow_bytes(params, cx.content())?;
        write_result(&self(plugin, bytes).map_err(Into::into)?, out)
    }
}

impl<S, R, E, F> Direct<S, Borrowed<(R, E, WithContext)>> for F
where
    F: Fn(&S, BytesRef<'_>, &Context<'_>) -> Result<R, E> + Send + Sync + 'static,
    R: Serialize,
    E: Into<Error>,
{
    fn run(&self, plugin: &S, params: &[u8], cx: &Context<'_>, out: &mut Out<'_>) -> Result<(), Error> {
        let bytes = params::borrow_bytes(params, cx.content())?;
        write_result(&self(plugin, bytes, cx).map_err(Into::into)?, out)
    }
}

pin_project_lite::pin_project! {
    /// A future that writes its result when it is ready.
    struct WriteWhenReady<F> {
        #[pin]
        future: F,
    }
}

impl<F, R, E> Begun for WriteWhenReady<F>
where
    F: Future<Output = Result<R, E>> + Send,
    R: Serialize,
    E: Into<Error>,
{
    fn poll_begun(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        out: &mut Out<'_>,
    ) -> Poll<Result<(), Error>> {
        self.project().future.poll(cx).map(|result| write_result(&result.map_err(Into::into)?, out))
    }
}

impl<S, P, R, E, F, T> Asynchronous<S, (P, R, E)> for F
where
    F: Fn(Arc<S>, P) -> T + Send + Sync + 'static,
    T: Future<Output = Result<R, E>> + Send + 'static,
    P: DeserializeOwned,
    R: Serialize + 'static,
    E: Into<Error> + 'static,
{
    fn begin(
        &self,
        plugin: &Arc<S>,
        params: &[u8],
        cx: Context<'static>,
    ) -> Result<Pin<Box<dyn Begun>>, Error> {
        Ok(Box::pin(WriteWhenReady { future: self(Arc::clone(plugin), params::read(params, cx.content())?) }))
    }
}

impl<S, P, R, E, F, T> Asynchronous<S, (P, R, E, WithContext)> for F
where
    F: Fn(Arc<S>, P, Context<'static>) -> T + Send + Sync + 'static,
    T: Future<Output = Result<R, E>> + Send + 'static,
    P: DeserializeOwned,
    R: Serialize + 'static,
    E: Into<Error> + 'static,
{
    fn begin(
        &self,
        plugin: &Arc<S>,
        params: &[u8],
        cx: Context<'static>,
    ) -> Result<Pin<Box<dyn Begun>>, Error> {
        Ok(Box::pin(WriteWhenReady {
            future: self(Arc::clone(plugin), params::read(params, cx.content())?, cx),
        }))
    }
}

impl<S, R, E, F, T> Asynchronous<S, WithoutParams<(R, E)>> for F
where
    F: Fn(Arc<S>) -> T + Send + Sync + 'static,
    T: Future<Output = Result<R, E>> + Send + 'static,
    R: Serialize + 'static,
    E: Into<Error> + 'static,
{
    fn begin(
        &self,
        plugin: &Arc<S>,
        params: &[u8],
        cx: Context<'static>,
    ) -> Result<Pin<Box<dyn Begun>>, Error> {
        params::expect_none(params, cx.content())?;
        Ok(Box::pin(WriteWhenReady { future: self(Arc::clone(plugin)) }))
    }
}

impl<S, R, E, F, T> Asynchronous<S, WithoutParams<(R, E, WithContext)>> for F
where
    F: Fn(Arc<S>, Context<'static>) -> T + Send + Sync + 'static,
    T: Future<Output = Result<R, E>> + Send + 'static,
    R: Serialize + 'static,
    E: Into<Error> + 'static,
{
    fn begin(
        &self,
        plugin: &Arc<S>,
        params: &[u8],
        cx: Context<'static>,
    ) -> Result<Pin<Box<dyn Begun>>, Error> {
        params::expect_none(params, cx.content())?;
        Ok(Box::pin(WriteWhenReady { future: self(Arc::clone(plugin), cx) }))
    }
}
