//! A plugin's methods by number, each with its name and the way it runs.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use crate::abi::Out;
use crate::handler::{Asynchronous, Direct};
use crate::{Context, Error, Run};

/// A begun `async` method: writes its result when it is ready.
#[doc(hidden)]
pub trait Begun: Send {
    /// Polls the method's future once.
    fn poll_begun(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        out: &mut Out<'_>,
    ) -> Poll<Result<(), Error>>;
}

type DirectBody<S> = Box<dyn Fn(&S, &[u8], &Context<'_>, &mut Out<'_>) -> Result<(), Error> + Send + Sync>;
type FutureBody<S> =
    Box<dyn Fn(&Arc<S>, &[u8], Context<'static>) -> Result<Pin<Box<dyn Begun>>, Error> + Send + Sync>;

enum Body<S> {
    Direct(DirectBody<S>),
    Future(FutureBody<S>),
}

/// The methods of a plugin of type `S`, numbered in the order they were added.
pub struct Methods<S> {
    entries: Vec<(String, Run, Body<S>)>,
}

impl<S: 'static> Methods<S> {
    /// No method yet.
    #[must_use]
    pub fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Adds a method that runs on the thread that serves the connection: microseconds, and never waiting.
    #[must_use]
    pub fn inline<Form>(self, name: impl Into<String>, method: impl Direct<S, Form>) -> Self {
        self.direct_as(name, Run::Inline, method)
    }

    /// Adds a method that runs on a thread of the plugin's own, and may wait.
    #[must_use]
    pub fn blocking<Form>(self, name: impl Into<String>, method: impl Direct<S, Form>) -> Self {
        self.direct_as(name, Run::Blocking, method)
    }

    /// Adds a method that is a future, polled on a thread of the plugin's own.
    #[must_use]
    pub fn asynchronous<Form>(mut self, name: impl Into<String>, method: impl Asynchronous<S, Form>) -> Self {
        let body = Body::Future(Box::new(move |plugin: &Arc<S>, params: &[u8], cx: Context<'static>| {
            method.begin(plugin, params, cx)
        }));
        self.entries.push((name.into(), Run::Async, body));
        self
    }

    fn direct_as<Form>(mut self, name: impl Into<String>, run: Run, method: impl Direct<S, Form>) -> Self {
        let body = move |plugin: &S, params: &[u8], cx: &Context<'_>, out: &mut Out<'_>| {
            method.run(plugin, params, cx, out)
        };
        self.entries.push((name.into(), run, Body::Direct(Box::new(body))));
        self
    }

    /// Names and ways to run, by number.
    pub fn declared(&self) -> impl Iterator<Item = (&str, Run)> {
        self.entries.iter().map(|(name, run, _)| (name.as_str(), *run))
    }

    pub(crate) fn direct(&self, number: u32) -> Result<&DirectBody<S>, Error> {
        match self.body(number) {
            Some(Body::Direct(body)) => Ok(body),
            Some(Body::Future(_)) => Err(Error::internal("an async method was called directly")),
            None => Err(Error::internal("a method was called by a number that is not there")),
        }
    }

    pub(crate) fn future(&self, number: u32) -> Result<&FutureBody<S>, Error> {
        match self.body(number) {
            Some(Body::Future(body)) => Ok(body),
            Some(Body::Direct(_)) => Err(Error::internal("a direct method was begun as a future")),
            None => Err(Error::internal("a method was called by a number that is not there")),
        }
    }

    fn body(&self, number: u32) -> Option<&Body<S>> {
        self.entries.get(usize::try_from(number).ok()?).map(|(_, _, body)| body)
    }
}

impl<S: 'static> Default for Methods<S> {
    fn default() -> Self {
        Self::new()
    }
}
