//! Finds what answers a request: by its method and the number of its path's segments, then by the pattern.

use super::{Route, params};
use std::collections::HashMap;
use std::sync::Arc;
use warp::filters::BoxedFilter;
use warp::http::Request;
use warp::reply::Response;

/// The values of a pattern's parameters, in order, which go with the request to what answers it.
#[derive(Clone, Debug)]
pub(super) struct Params(pub(super) Vec<String>);

/// What answers a request.
pub(crate) type Answering = BoxedFilter<(Response,)>;

/// Routes, each with what answers it.
pub(crate) struct Mounted(Vec<Mount>);

type Mount = (&'static Route, Answering);
/// A method, and a number of segments.
type Shape = (&'static str, usize);

impl Mounted {
    /// One route.
    pub(super) fn one(route: &'static Route, answering: Answering) -> Self {
        Self(vec![(route, answering)])
    }

    /// The routes of all `parts`.
    pub(super) fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        Self(parts.into_iter().flat_map(|part| part.0).collect())
    }
}

/// What answers which request. Clones share it.
#[derive(Clone)]
pub(crate) struct Router {
    by_shape: Arc<HashMap<Shape, Vec<Mount>>>,
    elsewhere: Answering,
}

impl Router {
    /// Of several routes that match a request the first one answers, and `elsewhere` when there is none.
    pub(super) fn new(mounted: Mounted, elsewhere: Answering) -> Self {
        let mut by_shape: HashMap<_, Vec<_>> = HashMap::new();
        for (route, answering) in mounted.0 {
            by_shape.entry((route.method, n_segments(route.pattern))).or_default().push((route, answering));
        }
        Self { by_shape: Arc::new(by_shape), elsewhere }
    }

    /// What answers `request`, which takes its [`Params`] along.
    pub(crate) fn find<B>(&self, request: &mut Request<B>) -> Answering {
        let (method, path) = (request.method().as_str(), request.uri().path());
        let mut alike = self.by_shape.get(&(method, n_segments(path))).into_iter().flatten();
        let found = alike.find_map(|(route, answering)| Some((params(route.pattern, path)?, answering.clone())));
        let Some((params, answering)) = found else { return self.elsewhere.clone() };
        request.extensions_mut().insert(Params(params));
        answering
    }
}

fn n_segments(path: &str) -> usize {
    path.split('/').count()
}
