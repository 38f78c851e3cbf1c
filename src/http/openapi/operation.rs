//! One route as an operation of the document.

use serde_json::json;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::schema::{Object, SchemaType, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, Ref, RefOr, Required, Response, Schema};

use super::super::routes::{Needs, RouteSpec};
use super::problems::{CREDENTIAL, EXCHANGE, Problems};
use super::schemas::Schemas;
use super::shape::{FORM, JSON};
use super::{BEARER, SESSION, SIGN_IN, tag};

/// The name of each parameter in a path, what it is, and an example.
const PARAMETERS: &[(&str, &str, &str)] = &[
    ("organization", "Id or slug of the organization.", "default"),
    ("workspace", "Id or slug of the workspace.", "default"),
    ("project", "Id or slug of the project.", "etl"),
    ("account", "Id or name of the service account.", "deployer"),
    ("key", "Id or name of the API key.", "default"),
    ("permission", "Id or name of the permission.", "pipelines.deploy"),
    ("role", "Id or name of the role.", "Workspace Developer"),
    ("assignment", "Id of the assignment.", super::vocabulary::ID),
    ("team", "Id or name of the team.", "data"),
    ("member", "Id of the member: that of the service account or person.", super::vocabulary::ID),
    ("user", "Id or email address of the person.", "ada@example.com"),
    ("session", "Id of the sign-in.", super::vocabulary::ID),
    ("list", "Number of the list, as in the tokens' `status.status_list.uri`.", "0"),
    ("file", "Name of the file.", "swagger-ui.css"),
];

/// Every header that the document speaks of: its name, what it is, and an example.
pub(super) const HEADERS: &[(&str, &str, &str)] = &[
    ("x-request-id", "By which the log finds the request.", super::vocabulary::ID),
    ("location", "Where it is found.", "/api/v1/teams/019b7700-6400-7c3e-9f1a-2b3c4d5e6f70"),
    ("hourpass-propagation", "How many nodes there are, and how many confirmed that they answer by the change.", "live_nodes=2, confirmed=2"),
    ("idempotency-replayed", "That this is the answer to an earlier request with the same Idempotency-Key; else it is not there.", "true"),
    ("www-authenticate", "How to present a credential (RFC 6750).", "Bearer realm=\"hourpass\", error=\"invalid_token\""),
    ("retry-after", "After how many seconds it is worth trying again.", "1"),
    ("accept-post", "The content type that is taken.", "application/json"),
    (
        "set-cookie",
        "The cookie of the session: for a page of this server, and for nobody else.",
        "hourpass=hp_session_...; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax",
    ),
    ("etag", "Its version, for `If-None-Match`.", "W/\"1f0c\""),
    ("cache-control", "For how long it may be kept, and by whom.", "public, max-age=60"),
    ("access-control-allow-origin", "Pages of other origins may read it.", "*"),
];

/// A header of the document.
pub(super) fn header(name: &str) -> Ref {
    Ref::new(format!("#/components/headers/{name}"))
}

fn text() -> Object {
    Object::builder().schema_type(SchemaType::new(Type::String)).build()
}

/// The headers of the document.
pub(super) fn headers() -> impl Iterator<Item = (&'static str, Header)> {
    HEADERS.iter().map(|(name, what, example)| {
        let header = Header::builder().schema(Some(text())).description(Some(*what)).example(Some(json!(example)));
        (*name, header.build())
    })
}

/// The name of a handler, as a program that was made from the document calls it: `teams::create` is `teams_create`. A name that says it all stands alone.
pub(super) fn operation_id(handler: &str) -> String {
    match handler.split_once("::") {
        Some((module, function)) if function.contains(module) => function.to_owned(),
        _ => handler.replace("::", "_"),
    }
}

/// The operation of a route.
pub(super) fn operation(route: &RouteSpec, schemas: &mut Schemas, problems: &mut Problems) -> Operation {
    let shape = &route.shape;
    let once = shape.once.then(|| RefOr::Ref(Ref::new("#/components/parameters/idempotency-key")));
    let parameters: Vec<_> = path_parameters(route.path).chain(query_parameters(route, schemas)).chain(once).collect();
    let mut operation = Operation::builder()
        .operation_id(Some(operation_id(route.handler)))
        .tag(tag(route.handler))
        .summary(Some(summary(route)))
        .description(Some(format!("{}.\n\n{}", capitalized(route.summary), needed(&route.needs))))
        .securities(Some(security(&route.needs)))
        .responses(success(route, schemas));
    for (status, response) in problems.of(&codes(route), is_login(route), shape.body.map_or("", |body| body.media)) {
        operation = operation.response(status, response);
    }
    if let Some(body) = shape.body {
        let schema = (body.describe)(schemas);
        let example = schemas.example(&schema);
        let content = Content::builder().schema(Some(schema)).example(Some(example)).build();
        let required = if body.required { Required::True } else { Required::False };
        operation = operation.request_body(Some(RequestBody::builder().required(Some(required)).content(body.media, content).build()));
    }
    if let Needs::Permission(permission) = &route.needs {
        operation = operation.extensions(Some(Extensions::from_iter([("x-permission", permission.as_str())])));
    }
    let mut operation = operation.build();
    operation.parameters = Some(parameters).filter(|parameters| !parameters.is_empty());
    operation
}

fn is_login(route: &RouteSpec) -> bool {
    route.shape.body.is_some_and(|body| body.media == FORM)
}

/// What those handlers are about that do the same to different things.
const THINGS: &[(&str, &str, &str)] = &[
    ("organizations", "an organization", "organizations"),
    ("workspaces", "a workspace", "workspaces"),
    ("projects", "a project", "projects"),
    ("service_accounts", "a service account", "service accounts"),
    ("api_keys", "an API key", "API keys"),
    ("permissions", "a permission", "permissions"),
    ("roles", "a role", "roles"),
    ("role_assignments", "an assignment", "role assignments"),
    ("teams", "a team", "teams"),
    ("users", "a person", "people"),
    ("audit_events", "an audit event", "audit events"),
    ("signing_keys", "a signing key", "signing keys"),
    ("sessions", "a sign-in", "one's own sign-ins"),
    ("status_lists", "a status list", "status lists"),
];

/// What it does, in a few words that stand alone; what the table of routes says has its heading to lean on.
fn summary(route: &RouteSpec) -> String {
    let (module, function) = route.handler.split_once("::").unwrap_or_default();
    match (THINGS.iter().find(|thing| thing.0 == module), function) {
        (Some((_, _, things)), "list") => format!("List {things}"),
        (Some((_, thing, _)), "get") => format!("Get {thing}"),
        (Some((_, thing, _)), "create") => format!("Create {thing}"),
        (Some((_, thing, _)), "change") => format!("Change {thing}"),
        (Some((_, thing, _)), "delete") => format!("Delete {thing}"),
        (Some((_, thing, _)), "impact") => format!("What would stop without {thing}"),
        (Some((_, thing, _)), "revoke_tokens") => format!("End the tokens of {thing}"),
        (Some((_, thing, _)), "rotate") => format!("Rotate {thing}"),
        (Some(_), "list_members") => "List the members of a team".to_owned(),
        (Some(_), "add_member") => "Add a member to a team".to_owned(),
        (Some(_), "remove_member") => "Remove a member from a team".to_owned(),
        (Some(_), "export") => "Export audit events".to_owned(),
        (Some(_), "report") => "Report a leaked API key".to_owned(),
        (Some(_), "compromise") => "Mark an API key as compromised".to_owned(),
        (Some(_), "invite") => "Invite a person".to_owned(),
        (Some(_), "end_others") => "End all one's other sign-ins".to_owned(),
        (Some(_), "end") => "End a sign-in of one's own".to_owned(),
        (Some(_), "accept") => "Accept an invitation".to_owned(),
        (Some(_), "change_password") => "Change one's own password".to_owned(),
        _ => capitalized(route.summary),
    }
}

/// What a person reads first: a sentence.
fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

fn needed(needs: &Needs) -> String {
    match needs {
        Needs::Nothing => "Anybody may ask.".to_owned(),
        Needs::Credential => "Needs any credential.".to_owned(),
        Needs::Permission(permission) => format!("Needs the permission `{permission}`, at the place that it is about."),
    }
}

/// Each of the three ways to say who one is, or none.
fn security(needs: &Needs) -> Vec<SecurityRequirement> {
    let scopes: Vec<&str> = match needs {
        Needs::Nothing => return Vec::new(),
        Needs::Credential => Vec::new(),
        Needs::Permission(permission) => vec![permission.as_str()],
    };
    [SIGN_IN, BEARER, SESSION].map(|scheme| SecurityRequirement::new(scheme, scopes.clone())).into()
}

/// All codes that the row implies or names.
fn codes(route: &RouteSpec) -> Vec<&'static str> {
    let shape = &route.shape;
    // A path or query may hold what is never taken, and any answer may take too long.
    let mut codes = vec!["invalid_request", "internal_error", "unavailable"];
    if route.method != "GET" && !is_login(route) {
        codes.push("outcome_unknown");
    }
    if route.path.contains('{') && !is_login(route) {
        codes.push("not_found");
    }
    if route.needs != Needs::Nothing {
        codes.extend(CREDENTIAL);
    }
    if let Needs::Permission(_) = route.needs {
        codes.push("permission_denied");
    }
    if route.needs != Needs::Nothing && route.method != "GET" {
        codes.push("cross_site_request");
    }
    if shape.query.is_some() {
        codes.push("validation_failed");
    }
    if shape.body.is_some() {
        codes.extend(["request_timeout", "payload_too_large", "unsupported_media_type"]);
        codes.extend(if is_login(route) { EXCHANGE } else { &["validation_failed"] });
    }
    if shape.once {
        codes.extend(["idempotency_key_reused", "idempotency_in_progress", "idempotency_outdated"]);
    }
    codes.extend(shape.codes);
    codes
}

/// The names of the parameters in a path.
pub(super) fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split(['{', '}']).skip(1).step_by(2)
}

/// Whether a parameter of a path is in the table.
#[cfg(test)]
pub(super) fn is_described(name: &str) -> bool {
    PARAMETERS.iter().any(|known| known.0 == name)
}

fn path_parameters(path: &str) -> impl Iterator<Item = RefOr<Parameter>> {
    names(path).map(|name| {
        let known = PARAMETERS.iter().find(|known| known.0 == name);
        let (_, what, example) = known.copied().unwrap_or_default();
        let parameter = Parameter::builder().name(name).parameter_in(ParameterIn::Path).required(Required::True).description(Some(what));
        parameter.schema(Some(text())).example(Some(json!(example))).build().into()
    })
}

/// The members of the type of the query. Those of every list are told once.
fn query_parameters(route: &RouteSpec, schemas: &Schemas) -> Vec<RefOr<Parameter>> {
    // The type of a query is no schema of the document, but is taken apart.
    let mut apart = Schemas::default();
    let Some(query) = route.shape.query.map(|describe| describe(&mut apart)) else { return Vec::new() };
    let Some(Schema::Object(query)) = apart.resolve(&query) else { return Vec::new() };
    let parameters = query.properties.iter().map(|(name, schema)| {
        if ["limit", "cursor"].contains(&name.as_str()) {
            return RefOr::Ref(Ref::new(format!("#/components/parameters/{name}")));
        }
        let (schema, what) = without_null(schema.clone());
        let required = if query.required.contains(name) { Required::True } else { Required::False };
        let example = schemas.example(&schema);
        let parameter = Parameter::builder().name(name).parameter_in(ParameterIn::Query).required(required).description(what);
        // An example of a filter would be sent by who only tries it out, and find nothing.
        let parameter = if query.required.contains(name) { parameter.example(Some(example)) } else { parameter };
        parameter.schema(Some(schema)).build().into()
    });
    parameters.collect()
}

/// A parameter is there or not, and never null. What it is moves to the parameter.
fn without_null(schema: RefOr<Schema>) -> (RefOr<Schema>, Option<String>) {
    match schema {
        RefOr::T(Schema::Object(mut object)) => {
            if let SchemaType::Array(types) = &object.schema_type
                && let Some(first) = types.first()
            {
                object.schema_type = SchemaType::Type(first.clone());
            }
            if let Some(values) = &mut object.enum_values {
                values.retain(|value| !value.is_null());
            }
            let description = object.description.take();
            (Schema::Object(object).into(), description)
        }
        other => (other, None),
    }
}

/// `limit` and `cursor`, and the Idempotency-Key.
pub(super) fn shared_parameters() -> [(&'static str, Parameter); 3] {
    let query = |name: &str, what: &str, schema: Object| {
        let parameter = Parameter::builder().name(name).parameter_in(ParameterIn::Query).required(Required::False);
        parameter.description(Some(what)).schema(Some(schema)).build()
    };
    let number = Object::builder().schema_type(SchemaType::new(Type::Integer)).minimum(Some(1)).maximum(Some(200)).default(Some(json!(50)));
    let key = Object::builder().schema_type(SchemaType::new(Type::String)).min_length(Some(1)).max_length(Some(255));
    let what = "A text of your own for this request, such as a random UUID. A repeat with the same one within 24 hours is answered as the first was, with \
                `Idempotency-Replayed: true`, and nothing is done twice.";
    let once = Parameter::builder().name("idempotency-key").parameter_in(ParameterIn::Header).required(Required::False);
    [
        ("limit", query("limit", "At most so many items.", number.build())),
        ("cursor", query("cursor", "`next_cursor` of the page before.", text())),
        ("idempotency-key", once.description(Some(what)).schema(Some(key.build())).build()),
    ]
}

/// The answer to a success.
fn success(route: &RouteSpec, schemas: &mut Schemas) -> utoipa::openapi::Responses {
    let answer = &route.shape.answer;
    let mut response = Response::builder().description(answer.description).header_ref("x-request-id", header("x-request-id"));
    for name in answer.headers {
        response = response.header_ref(*name, header(name));
    }
    if route.shape.once {
        response = response.header_ref("idempotency-replayed", header("idempotency-replayed"));
    }
    if let Some(describe) = answer.describe {
        let schema = describe(schemas);
        let example = schemas.example(&schema);
        response = response.content(answer.media, Content::builder().schema(Some(schema)).example(Some(example)).build());
    } else if !answer.media.is_empty() {
        let schema = if answer.media == JSON { Object::new() } else { text() };
        response = response.content(answer.media, Content::new(Some(schema)));
    }
    let responses = utoipa::openapi::Responses::builder().response(answer.status.to_string(), response.build());
    if !answer.headers.contains(&"etag") {
        return responses.build();
    }
    let unchanged = Response::builder().description("It has not changed.");
    let unchanged = ["x-request-id", "etag", "cache-control"].into_iter().fold(unchanged, |it, name| it.header_ref(name, header(name)));
    responses.response("304", unchanged.build()).build()
}
