//! The methods of a plugin by number, each with its name and the way it runs.

use std::pin::Pin;
use std::sync::Arc;

use crate::abi::Out;
use crate::handler::{Asynchronous, Begun, Direct};
use crate::{Context, Error, Run};

type DirectBody<S> = Box<dyn Fn(&S, &[u8], &Context<'_>, &mut Out<'_>) -> Result<(), Error> + Send + Sync>;
type FutureBody<S> =
    Box<dyn Fn(&Arc<S>, &[u8], Context<'static>) -> Result<Pin<Box<dyn Begun>>, Error> + Send + Sync>;

enum Body<S> {
    Direct(DirectBody<S>),
    Future(FutureBody<S>),
}

/// The methods of a plugin of type `S`, numbered in the order in which they were added.
pub struct Methods<S> {
    entries: Vec<(String, Run, Body<S>)>,
}

impl<S: 'static> Methods<S> {
    /// Creates an empty list.
    #[must_use]
    pub fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Adds a method that runs on the I/O thread of the connection. It should take microseconds and
    /// must never wait.
    #[must_use]
    pub fn inline<Form>(self, name: impl Into<String>, method: impl Direct<S, Form>) -> Self {
        self.add_direct(name, Run::Inline, method)
    }

    /// Adds a method that runs on a thread of its generation, and may wait.
    #[must_use]
    pub fn blocking<Form>(self, name: impl Into<String>, method: impl Direct<S, Form>) -> Self {
        self.add_direct(name, Run::Blocking, method)
    }

    /// Adds a method that returns a future. The async thread of its generation polls the future.
    #[must_use]
    pub fn asynchronous<Form>(mut self, name: impl Into<String>, method: impl Asynchronous<S, Form>) -> Self {
        let body = Body::Future(Box::new(move |plugin: &Arc<S>, params: &[u8], cx: Context<'static>| {
            method.begin(plugin, params, cx)
        }));
        self.entries.push((name.into(), Run::Async, body));
        self
    }

    fn add_direct<Form>(mut self, name: impl Into<String>, run: Run, method: impl Direct<S, Form>) -> Self {
        let body = move |plugin: &S, params: &[u8], cx: &Context<'_>, out: &mut Out<'_>| {
            method.run(plugin, params, cx, out)
        };
        self.entries.push((name.into(), run, Body::Direct(Box::new(body))));
        self
    }

    /// Returns the names and the ways to run, in the order of the numbers.
    pub fn declared(&self) -> impl Iterator<Item = (&str, Run)> {
        self.entries.iter().map(|(name, run, _)| (name.as_str(), *run))
    }

    pub(crate) fn direct(&self, number: u32) -> Result<&DirectBody<S>, Error> {
        match self.body(number) {
            Some(Body::Direct(body)) => Ok(body),
            Some(Body::Future(_)) => Err(Error::internal("the host called an async method directly")),
            None => Err(Error::internal("the host called a method number that does not exist")),
        }
    }

    pub(crate) fn future(&self, number: u32) -> Result<&FutureBody<S>, Error> {
        match self.body(number) {
            Some(Body::Future(body)) => Ok(body),
            Some(Body::Direct(_)) => Err(Error::internal("the host began a method that is not async")),
            None => Err(Error::internal("the host called a method number that does not exist")),
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
