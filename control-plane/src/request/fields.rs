//! Reading the named values of a body or a query, and collecting everything that is wrong with them.

use super::lax::Wrong;
use crate::api_error::ApiError;
use crate::routes::Param;
use domain::reading::Problem;
use serde_json::{Map, Value};

/// The named values of one body or query. Names that nobody asks for are ignored.
///
/// A value that cannot be read is noted, and its type's default stands in for it until
/// [`finish`](Self::finish) refuses the request.
#[derive(Debug)]
pub(crate) struct Fields {
    location: &'static str,
    values: Map<String, Value>,
    problems: Vec<Problem>,
    /// What the route's entry says that there is to read; `None` when it says nothing of these values.
    documented: Option<&'static [Param]>,
}

impl Fields {
    /// The members of a body.
    pub(crate) fn of_body(values: Map<String, Value>) -> Self {
        Self { location: "body", values, problems: Vec::new(), documented: None }
    }

    /// The parameters of a query; of two with one name, the last.
    pub(crate) fn of_query(query: &[(String, String)]) -> Self {
        let values = query.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect();
        Self { location: "query", values, problems: Vec::new(), documented: None }
    }

    /// The same; to read a value that is not among `params` is a mistake in the program.
    #[must_use]
    pub(crate) fn documented(self, params: &'static [Param]) -> Self {
        Self { documented: Some(params), ..self }
    }

    /// The value called `name`.
    fn get(&self, name: &str) -> Option<&Value> {
        let documented = |params: &'static [Param]| params.iter().any(|param| param.name == name);
        debug_assert!(self.documented.is_none_or(documented), "{name} of the {} is not documented", self.location);
        self.values.get(name)
    }

    /// A value that must be there.
    pub(crate) fn required<T: Default>(&mut self, name: &str, read: impl Fn(&Value) -> Result<T, Wrong>) -> T {
        match self.get(name).map(read) {
            Some(Ok(value)) => return value,
            Some(Err(wrong)) => self.wrong(name, wrong),
            None => self.wrong(name, Wrong::new("Field required")),
        }
        T::default()
    }

    /// A value that may be absent or null.
    pub(crate) fn optional<T>(&mut self, name: &str, read: impl Fn(&Value) -> Result<T, Wrong>) -> Option<T> {
        match self.get(name).filter(|value| !value.is_null()).map(read)? {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.wrong(name, wrong);
                None
            }
        }
    }

    /// A value that may be absent, but not null; `default` stands in for it.
    pub(crate) fn or<T>(&mut self, name: &str, default: T, read: impl Fn(&Value) -> Result<T, Wrong>) -> T {
        match self.get(name).map(read) {
            Some(Ok(value)) => return value,
            Some(Err(wrong)) => self.wrong(name, wrong),
            None => {}
        }
        default
    }

    /// Whether there is a value called `name`, of whatever kind.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The raw values.
    pub(crate) fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    /// The values that `other` has and this has not are read from here as well.
    #[must_use]
    pub(crate) fn or_from(mut self, other: Self) -> Self {
        for (name, value) in other.values {
            self.values.entry(name).or_insert(value);
        }
        self.problems.extend(other.problems);
        self
    }

    /// Refuses what the route's entry does not name: where a slip of the pen would do harm unseen.
    pub(crate) fn refuse_unknown(&mut self) {
        let documented = self.documented.unwrap_or_default();
        let unknown = self.values.keys().filter(|name| documented.iter().all(|param| param.name != name.as_str()));
        for name in unknown.cloned().collect::<Vec<_>>() {
            self.refuse(&name, "Extra inputs are not permitted");
        }
    }

    /// Notes that the value called `name` makes no sense because of `message`.
    pub(crate) fn refuse(&mut self, name: &str, message: impl Into<String>) {
        self.wrong(name, Wrong::new(message));
    }

    /// The first problem so far; its field is a path with dots.
    pub(crate) fn problem(&self) -> Option<&Problem> {
        self.problems.first()
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// Every problem at once, as the old contract flattens them.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        if self.problems.is_empty() {
            return Ok(());
        }
        let told = |Problem { field, message }: Problem| {
            (format!("{} → {}", self.location, field.replace('.', " → ")), message)
        };
        Err(ApiError::all_invalid(&self.problems.into_iter().map(told).collect::<Vec<_>>()))
    }

    fn wrong(&mut self, name: &str, wrong: Wrong) {
        let path: Vec<&str> = std::iter::once(name).chain(wrong.path.iter().map(String::as_str)).collect();
        self.problems.push(Problem { field: path.join("."), message: wrong.message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::lax;
    use crate::routes::Kind;
    use serde_json::json;

    fn fields(body: Value) -> Fields {
        match body {
            Value::Object(values) => Fields::of_body(values),
            other => panic!("{other} is no object"),
        }
    }

    fn detail(fields: Fields) -> String {
        match fields.finish() {
            Err(ApiError::Invalid(detail)) => detail,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let mut fields = fields(json!({ "value": "warm", "quality": 2, "tags": ["a", 1] }));
        fields.required("sensor_id", lax::string);
        fields.required("value", lax::float);
        fields.or("quality", 1.0, lax::float_in(0.0, 1.0));
        fields.optional("tags", lax::list(5, lax::string));
        assert_eq!(
            detail(fields),
            "Request validation failed: body → sensor_id: Field required; \
             body → value: Input should be a valid number, unable to parse string as a number; \
             body → quality: Input should be less than or equal to 1; \
             body → tags → 1: Input should be a valid string"
        );
    }

    #[test]
    fn beyond_five_problems_are_counted() {
        let mut fields = fields(json!({}));
        for name in ["a", "b", "c", "d", "e", "f", "g"] {
            fields.required(name, lax::string);
        }
        let detail = detail(fields);
        assert!(detail.ends_with("body → e: Field required; (+2 more validation issues)"), "{detail}");
    }

    #[test]
    fn a_name_that_nobody_asks_for_can_be_refused() {
        const DOCUMENTED: &[Param] = &[Param::optional("name", Kind::Text, "A name")];
        let mut fields = fields(json!({ "name": "x", "nmae": "y" })).documented(DOCUMENTED);
        fields.refuse_unknown();
        assert_eq!(detail(fields), "Request validation failed: body → nmae: Extra inputs are not permitted");
    }

    #[test]
    fn null_stands_only_for_what_may_be_absent() {
        let mut fields = fields(json!({ "unit": null, "quality": null }));
        assert_eq!(fields.optional("unit", lax::string), None);
        fields.or("quality", 1.0, lax::float);
        assert_eq!(detail(fields), "Request validation failed: body → quality: Input should be a valid number");
    }

    #[test]
    fn a_query_reads_like_a_body_of_text() {
        let query = [("limit", "10"), ("limit", "20"), ("include", "Yes")];
        let query: Vec<_> = query.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut fields = Fields::of_query(&query);
        assert_eq!(fields.or("limit", 1, lax::int_in(1, 100)), 20);
        assert!(fields.or("include", false, lax::boolean));
        fields.finish().expect("all is well");
    }
}
