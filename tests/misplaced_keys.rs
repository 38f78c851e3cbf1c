//! A credential in every field of every request: it is stored nowhere, logged nowhere and repeated in no answer.
//!
//! What is sent is made from the table of routes, the OpenAPI document, the table of pages and the forms in these pages, so that a new route, field or page is covered without a change
//! here.

use std::collections::{BTreeMap, BTreeSet};

use hourpass::domain::api_key::{KeyPrefix, RawApiKey};
use hourpass::domain::random::Random;
use hourpass::http::{PAGES, openapi_document};
use hourpass::store::{Db, OpenMode, Store};
use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};
use std::time::Duration;

use crate::support::{Client, Engine, Process, hourpass, on_both_engines};

/// Fields that are for credentials. In any other, one is refused.
const FOR_CREDENTIALS: [&str; 5] = ["credential", "invitation", "key", "old_password", "password"];
/// Headers that a client may send, or a proxy may add.
const HEADERS: [&str; 17] = [
    "user-agent",
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-host",
    "forwarded",
    "origin",
    "referer",
    "accept",
    "accept-language",
    "accept-encoding",
    "content-type",
    "cookie",
    "authorization",
    "if-none-match",
    "traceparent",
    "sec-fetch-site",
    "x-anything",
];

struct Numbered(u8);

impl Random for Numbered {
    fn fill(&self, bytes: &mut [u8]) {
        (0..).zip(bytes).for_each(|(index, byte): (u8, _)| *byte = self.0.wrapping_mul(37) ^ index.wrapping_mul(73));
    }
}

/// Something that is sent where it does not belong, and what must be found nowhere.
struct Canary {
    text: String,
    needle: String,
}

impl Canary {
    fn new(text: String) -> Self {
        // Enough to tell it from all else, wherever it was cut.
        let needle = text.split(' ').next().unwrap().trim_start_matches("hp_live_").chars().skip(3).take(24).collect();
        Self { text, needle }
    }
}

fn canaries(known: &str) -> Vec<Canary> {
    let key = |prefix: &str, number| RawApiKey::generate(&KeyPrefix::parse(prefix).unwrap(), &Numbered(number)).expose().to_owned();
    let encoded = |text: String| text.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02X}"));
    let token = format!("eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJodHRwOi8vMTI3LjAuMC4xIn0.{}", key("s_", 9).repeat(2));
    let mut texts = vec![
        // One that counts, and those that have only the form.
        known.to_owned(),
        key("acme_prod_", 1),
        key("hp_invite_", 2),
        key("hp_session_", 3),
        format!("vf_live_{}", "0a1b2c3d4e5f".repeat(4)),
        key("hp_live_", 4).to_lowercase(),
        token,
        format!("https://{}.example.com/x", key("hp_live_", 5)),
        format!("see {} there", key("hp_live_", 6)),
        encoded(key("hp_live_", 7)),
    ];
    let broken = key("hp_live_", 8);
    texts.push(format!("{} {}", &broken[..40], &broken[40..]));
    let mut canaries: Vec<Canary> = texts.into_iter().map(Canary::new).collect();
    // In a longer text it is not at the beginning.
    key("hp_live_", 5)[11..35].clone_into(&mut canaries[7].needle);
    key("hp_live_", 6)[11..35].clone_into(&mut canaries[8].needle);
    // Tokens that do count begin as this one does.
    key("s_", 9)[2..26].clone_into(&mut canaries[6].needle);
    canaries
}

/// Sends requests, and looks at the answers.
struct Sender {
    /// A connection for each request: the server closes one whose body it did not want.
    connections: reqwest::Client,
    client: Client,
    needles: Vec<String>,
    sent: usize,
}

impl Sender {
    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(Method::from_bytes(method.as_bytes()).unwrap(), path)
    }

    /// The status of the answer, which repeats no credential; nothing if the request cannot even be sent.
    async fn send(&mut self, about: &str, request: RequestBuilder) -> Option<u16> {
        let answer = self.connections.execute(request.build().ok()?).await.unwrap_or_else(|error| panic!("{about}: {error:?}"));
        let (status, headers) = (answer.status().as_u16(), format!("{:?}", answer.headers()));
        let text = format!("{headers}{}", answer.text().await.unwrap());
        self.find_in(&text, &format!("the answer {status} to {about}"));
        self.sent += 1;
        Some(status)
    }

    fn find_in(&self, text: &str, place: &str) {
        let text = text.to_lowercase();
        for needle in &self.needles {
            if let Some(at) = text.find(&needle.to_lowercase()) {
                let from = (0..=at.saturating_sub(200)).rev().find(|from| text.is_char_boundary(*from)).unwrap();
                panic!("a credential is in {place}: {}", text[from..].chars().take(400).collect::<String>());
            }
        }
    }
}

/// A path of a route with what exists in the place of its parameters.
fn path(pattern: &str) -> String {
    let names = [
        ("organization", "default"),
        ("workspace", "default"),
        ("project", "etl"),
        ("account", "ci"),
        ("key", "default"),
        ("team", "data"),
        ("role", "Releaser"),
        ("permission", "nodes.read"),
        ("user", "ada@example.com"),
        ("algorithm", "ES256"),
        ("name", "app.css"),
    ];
    let filled = names.iter().fold(pattern.to_owned(), |path, (parameter, name)| path.replace(&format!("{{{parameter}}}"), name));
    parameters(&filled)
        .into_iter()
        .fold(filled.clone(), |path, parameter| path.replace(&format!("{{{parameter}}}"), "00000000-0000-0000-0000-000000000000"))
}

fn parameters(pattern: &str) -> Vec<&str> {
    pattern.split(['{', '}']).skip(1).step_by(2).collect()
}

/// A value that a property takes, another one each time where it has to be unique.
fn sample(name: &str, schema: &Value, number: usize) -> Value {
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("string");
    match (name, kind) {
        ("name", "string") if schema["pattern"].is_string() => json!(format!("things{number}.read")),
        ("name" | "slug", "string") => json!(format!("sample-{number}")),
        ("email" | "admin_email", _) => json!(format!("sample-{number}@example.com")),
        (_, "integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        (_, "boolean") => json!(false),
        (_, "array") => json!(["nodes.read"]),
        (_, "object") => json!({}),
        _ => schema["examples"].get(0).cloned().unwrap_or_else(|| json!(format!("sample-{number}"))),
    }
}

/// What a property is given: the text itself, or, where it holds others, the text in each place.
fn misuses(schema: &Value, text: &str) -> Vec<Value> {
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("string");
    match kind {
        "array" => vec![json!([text])],
        "object" => {
            vec![json!({ "https://example.com/x": text }), json!({ text: "x" }), json!({ "https://example.com/x": { "a": [text] } }), json!(text)]
        }
        _ => vec![json!(text)],
    }
}

/// The forms of a page that are sent with `POST`: where to, and their fields with what stands in them.
fn forms(html: &str, page: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let attribute = |tag: &str, name: &str| {
        tag.split_once(&format!(" {name}=\""))
            .and_then(|(_, rest)| rest.split_once('"'))
            .map(|(value, _)| value.replace("&#x2f;", "/").replace("&amp;", "&").replace("&#38;", "&").replace("&#47;", "/"))
    };
    let mut found = Vec::new();
    for form in html.split("<form").skip(1) {
        let form = form.split("</form").next().unwrap();
        let head = form.split('>').next().unwrap();
        if attribute(head, "method").is_none_or(|method| !method.eq_ignore_ascii_case("post")) {
            continue;
        }
        let action = attribute(head, "action").unwrap_or_else(|| page.to_owned());
        let mut fields = BTreeMap::new();
        for tag in form.split('<').filter(|tag| ["input", "textarea", "select", "button"].iter().any(|name| tag.starts_with(name))) {
            if let Some(name) = attribute(tag, "name") {
                fields.insert(name, attribute(tag, "value").unwrap_or_default());
            }
        }
        found.push((action, fields));
    }
    found
}

/// Everything in the database, as text.
async fn everything(url: &str) -> String {
    let store = Store::open(url, 2, Duration::from_secs(5), OpenMode::ExistingOnly).await.unwrap();
    let mut all = String::new();
    match store.pool() {
        Db::Sqlite(pool) => {
            let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'").fetch_all(pool).await.unwrap();
            for table in tables {
                let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info($1)").bind(&table).fetch_all(pool).await.unwrap();
                let columns: Vec<_> = columns.iter().map(|column| format!("quote({column})")).collect();
                let sql = sqlx::AssertSqlSafe(format!("SELECT {} FROM {table}", columns.join(" || ' ' || ")));
                all.extend(sqlx::query_scalar::<_, String>(sql).fetch_all(pool).await.unwrap());
            }
        }
        Db::Postgres(pool) => {
            let tables: Vec<String> = sqlx::query_scalar("SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'")
                .fetch_all(pool)
                .await
                .unwrap();
            for table in tables {
                let sql = sqlx::AssertSqlSafe(format!("SELECT t::text FROM {table} t"));
                all.extend(sqlx::query_scalar::<_, String>(sql).fetch_all(pool).await.unwrap());
            }
        }
    }
    store.close().await;
    all
}

on_both_engines! {
    #[expect(clippy::too_many_lines, reason = "one server is given everything, and searched once")]
    async fn a_credential_in_any_field_is_stored_logged_and_repeated_nowhere(engine: Engine) {
        let database = engine.database().await;
        let format = if engine == Engine::Sqlite { "pretty" } else { "json" };
        let server = Process::start(
            hourpass(database.folder.path())
                .env("HOURPASS_SERVER__PORT", "0")
                .env("HOURPASS_DATABASE__URL", &database.url)
                .env("HOURPASS_LOG__FORMAT", format)
                .env("HOURPASS_LOG__FILTER", "debug")
                .env("HOURPASS_SERVER__TRUSTED_PROXIES", "127.0.0.0/8")
                .env("HOURPASS_API_KEYS__REPORTS_PER_MINUTE", "1000000")
                .env("HOURPASS_PASSWORDS__GUESSES_PER_MINUTE", "0"),
        );
        let issue = |roles: &[&str]| {
            let roles: Vec<_> = roles.iter().flat_map(|role| ["--role", role]).collect();
            let mut command = hourpass(database.folder.path());
            let command = command.env("HOURPASS_DATABASE__URL", &database.url).args(["admin", "issue-key", "--organization", "default", "--service-account"]);
            let issued = command.arg(if roles.is_empty() { "ci" } else { "boss" }).args(&roles).output().unwrap();
            String::from_utf8(issued.stdout).unwrap().trim().to_owned()
        };
        let admin = Client::new(&server.url).with(&issue(&["organization-admin", "platform-admin"]));
        // Another one of it is known to nobody, so that no answer may show it.
        let known = issue(&[]);
        assert_eq!(Client::new(&server.url).login(&known).await.status, 200);
        for (path, body) in [
            ("/api/v1/workspaces/default/projects", json!({ "slug": "etl" })),
            ("/api/v1/teams", json!({ "name": "data" })),
            ("/api/v1/roles", json!({ "name": "Releaser", "level": "workspace", "permissions": ["nodes.read"] })),
            ("/api/v1/users", json!({ "email": "ada@example.com", "password": "correct horse battery" })),
            ("/api/v1/service_accounts/ci/api_keys", json!({ "name": "default" })),
        ] {
            admin.post(path, &body).await.expect(201);
        }
        let canaries = canaries(&known);
        let mut needles: Vec<String> = canaries.iter().map(|canary| canary.needle.clone()).collect();
        needles.push(percent_encoding::percent_decode_str(&canaries[9].text).decode_utf8().unwrap()[11..35].to_owned());
        assert!(needles.iter().all(|needle| needle.len() >= 20), "{needles:?}");
        let connections = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let mut sender = Sender { connections, client: admin.clone(), needles, sent: 0 };
        let document: Value = serde_json::from_str(&openapi_document()).unwrap();
        let resolve = |value: &Value| match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap().clone(),
            None => value.clone(),
        };

        // What succeeds and leaves a record, with a credential in what is recorded of it.
        for canary in &canaries {
            let exchange = Client::new(&server.url).request(Method::POST, "/auth/login").header("user-agent", &canary.text);
            assert_eq!(sender.send("an exchange", exchange.form(&[("password", &known)])).await, Some(200));
            let named = Client::new(&server.url).request(Method::POST, "/auth/login").form(&[("password", known.as_str()), ("workspace", &canary.text)]);
            assert_eq!(sender.send("an exchange for a workspace of that name", named).await, Some(400));
            let changed = admin.request(Method::PATCH, "/api/v1/teams/data").header("user-agent", &canary.text).json(&json!({ "description": format!("number {}", sender.sent) }));
            sender.send("a change", changed).await;
        }

        // The API: every property of every body, every parameter, and the method itself.
        let mut refused: BTreeSet<String> = BTreeSet::new();
        for (pattern, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let method = method.to_uppercase();
                let about = format!("{method} {pattern}");
                for canary in &canaries {
                    let text = urlencoding(&canary.text);
                    for parameter in parameters(pattern) {
                        let target = path(&pattern.replace(&format!("{{{parameter}}}"), &text));
                        let request = sender.request(&method, &target).json(&json!({}));
                        sender.send(&format!("{about}, {parameter}"), request).await;
                    }
                    for parameter in operation["parameters"].as_array().into_iter().flatten().map(resolve).filter(|it| it["in"] == "query") {
                        let name = parameter["name"].as_str().unwrap();
                        let request = sender.request(&method, &format!("{}?{}={text}", path(pattern), urlencoding(name)));
                        let status = sender.send(&format!("{about}, {name}"), request).await;
                        assert_eq!(status, Some(422), "{about}, {name}: {}", canary.text);
                    }
                    let Some(content) = operation["requestBody"]["content"].as_object() else { continue };
                    let (media, content) = content.iter().next().unwrap();
                    let schema = resolve(&content["schema"]);
                    let required: BTreeSet<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                    let properties: BTreeMap<&String, Value> = schema["properties"].as_object().unwrap().iter().map(|(name, it)| (name, resolve(it))).collect();
                    for (name, of) in &properties {
                        for misuse in misuses(of, &canary.text) {
                            let mut body: Map<String, Value> = properties
                                .iter()
                                .filter(|(other, _)| required.contains(other.as_str()))
                                .map(|(other, of)| ((*other).clone(), sample(other, of, sender.sent)))
                                .collect();
                            body.insert((*name).clone(), misuse);
                            let request = sender.request(&method, &path(pattern));
                            let is_form = media.contains("form");
                            let request = if is_form { request.form(&body) } else { request.json(&body) };
                            let status = sender.send(&format!("{about}, {name}"), request).await;
                            if !is_form && !FOR_CREDENTIALS.contains(&name.as_str()) {
                                assert_eq!(status, Some(422), "{about}, {name}: {}", canary.text);
                                refused.insert((*name).clone());
                            }
                        }
                    }
                }
                for (header, canary) in HEADERS.iter().flat_map(|header| canaries.iter().step_by(6).map(move |canary| (header, canary))) {
                    let value = match *header {
                        "cookie" => format!("hp_session={0}; __Host-hp_session={0}", canary.text),
                        "authorization" => format!("Bearer {}", canary.text),
                        "x-forwarded-for" => format!("{}, 192.0.2.1", canary.text),
                        _ => canary.text.clone(),
                    };
                    let client = Client::new(&server.url);
                    let client = if ["cookie", "authorization"].contains(header) { &client } else { &admin };
                    // What is there is still needed.
                    let target = if method == "DELETE" { path(&pattern.replace('{', "{no_")) } else { path(pattern) };
                    let request = client.request(Method::from_bytes(method.as_bytes()).unwrap(), &target).header(*header, value).body("{}");
                    sender.send(&format!("{about}, {header}"), request).await;
                }
            }
            for canary in &canaries {
                if let Ok(method) = Method::from_bytes(canary.text.as_bytes()) {
                    let request = admin.request(method, &path(pattern));
                    sender.send(&format!("{pattern}, the method"), request).await;
                }
            }
        }
        for field in ["name", "description", "labels", "claims", "url", "audience", "slug", "hint", "email", "permissions"] {
            assert!(refused.contains(field), "{field} was not tried");
        }

        // The pages: every form that any page shows.
        let signed_in = Client::new(&server.url).browser().post_form("/auth/login", &[("password", &issue(&["organization-admin", "platform-admin"]))]).await;
        let browser = Client::new(&server.url).keeping(&signed_in);
        let mut shown = BTreeSet::new();
        sender.client = browser.clone();
        let pages = PAGES.iter().filter(|page| page.method == "GET" && page.path != "/static/{name}");
        for page in pages {
            let html = browser.request(Method::GET, &path(page.path)).send().await.unwrap().text().await.unwrap();
            for parameter in parameters(page.path) {
                for canary in canaries.iter().step_by(3) {
                    let target = path(&page.path.replace(&format!("{{{parameter}}}"), &urlencoding(&canary.text)));
                    let request = sender.request("GET", &target);
                    sender.send(&format!("{}, {parameter}", page.path), request).await;
                    let request = Client::new(&server.url).request(Method::GET, &target).header("accept", "text/html");
                    sender.send(&format!("{}, {parameter}, without a sign-in", page.path), request).await;
                }
            }
            let fields = html.split(" name=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
            for name in fields.chain(["next", "notice", "cursor", "show", "search", "given"]).collect::<BTreeSet<_>>() {
                for canary in canaries.iter().step_by(4) {
                    let asked = format!("{}?{}={}", path(page.path), urlencoding(name), urlencoding(&canary.text));
                    let request = sender.request("GET", &asked);
                    sender.send(&format!("{}, {name} in the query", page.path), request).await;
                    let request = Client::new(&server.url).request(Method::GET, &asked);
                    sender.send(&format!("{}, {name} in the query, without a sign-in", page.path), request).await;
                }
            }
            for (action, fields) in forms(&html, &path(page.path)) {
                shown.insert(action.clone());
                // Signing out would end the rest.
                if action == "/sign-out" {
                    continue;
                }
                // A form that only asks whether it is meant would do it, and has nothing to say but its key for repeats.
                let only_asks = fields.keys().all(|name| name == "idempotency_key");
                for (name, canary) in fields.keys().filter(|_| !only_asks).flat_map(|name| canaries.iter().map(move |canary| (name, canary))) {
                    let mut sent = fields.clone();
                    // With a password that is not taken, the page of an invitation shows the code again, on purpose.
                    sent.entry("password".to_owned()).and_modify(|password| "twelve purple monkeys dishwasher".clone_into(password));
                    sent.insert(name.clone(), canary.text.clone());
                    let request = sender.request("POST", &action).form(&sent);
                    let status = sender.send(&format!("the form of {action}, {name}"), request).await;
                    let signs_in = action.starts_with("/sign-in") || action == "/invitation";
                    if !FOR_CREDENTIALS.contains(&name.as_str()) && !signs_in {
                        assert_eq!(status, Some(422), "the form of {action}, {name}: {}", canary.text);
                    }
                }
            }
        }
        assert!(shown.len() > 20, "{shown:?}");
        assert!(sender.sent > 5_000, "{}", sender.sent);

        let log = server.stop().stderr;
        let log = String::from_utf8(log).unwrap();
        assert!(log.contains("(API key)") && log.contains("(token)"));
        sender.find_in(&log, "the log");
        let all = everything(&database.url).await;
        assert!(all.contains("(API key)") && all.contains("sample-"));
        let hexadecimal = |text: &String| text.bytes().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        sender.find_in(&all, "the database");
        sender.needles = sender.needles.iter().map(hexadecimal).collect();
        sender.find_in(&all, "the database, as bytes");
    }
}

/// As it stands in a path.
fn urlencoding(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
