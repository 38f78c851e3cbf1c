//! Links with a query, and those between the pages of a list.

use url::form_urlencoded::Serializer;

/// This path with these parameters, of which the empty ones are left out.
pub(super) fn link(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = Serializer::new(String::new());
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// The links from one page of a list to the others.
pub(super) struct Pager {
    /// Where the next page is.
    pub(super) next: Option<String>,
    /// Whether this is not the first.
    pub(super) is_later: bool,
    pub(super) first: String,
}

impl Pager {
    /// For the list at `path`, narrowed by `parameters`; `name` is the parameter of its cursor.
    pub(super) fn new(path: &str, parameters: &[(&str, &str)], name: &str, asked: Option<&str>, next: Option<&str>) -> Self {
        let with = |cursor: &str| link(path, &[parameters, &[(name, cursor)]].concat());
        Self { next: next.map(with), is_later: asked.is_some(), first: link(path, parameters) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_parameters_are_left_out_and_others_are_encoded() {
        assert_eq!(link("/people", &[("search", ""), ("show", "")]), "/people");
        assert_eq!(link("/people", &[("search", "a&b=c"), ("show", "x")]), "/people?search=a%26b%3Dc&show=x");
        let pager = Pager::new("/people", &[("search", "a")], "cursor", None, Some("xyz"));
        assert_eq!((pager.next.as_deref(), pager.is_later, &*pager.first), (Some("/people?search=a&cursor=xyz"), false, "/people?search=a"));
    }
}
