//! Libraries of others, against a real server and by discovery alone: each accepts our tokens, and none a forgery.
//!
//! The programs are in `interop/`: each reads one JSON object and prints another. `scripts/test` installs what they import.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hourpass::domain::document::DocumentKind;
use hourpass::domain::signing::SigningAlgorithm;
use hourpass::keys::{MasterKey, SigningKey};
use hourpass::store::{OpenMode, Store, StoredSigningKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Client, Database, Process, claims, command, header, hourpass, on_both_engines};

const LIBRARIES: [(&str, &str); 4] = [
    ("verify_pyjwt.py", include_str!("interop/verify_pyjwt.py")),
    ("verify_joserfc.py", include_str!("interop/verify_joserfc.py")),
    ("verify_jose.mjs", include_str!("interop/verify_jose.mjs")),
    ("verify_oauth4webapi.mjs", include_str!("interop/verify_oauth4webapi.mjs")),
];
const STATUS_LIST: (&str, &str) = ("status_list.mjs", include_str!("interop/status_list.mjs"));

const BEARERS: [(&str, &str); 2] = [("bearer.py", include_str!("interop/bearer.py")), ("bearer.mjs", include_str!("interop/bearer.mjs"))];

/// 32 bytes in base64.
const MASTER_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// What a program printed about what it was given.
fn ask(folder: &Path, (name, text): (&str, &str), given: &Value) -> Value {
    std::fs::write(folder.join(name), text).unwrap();
    let missing = "is not set: run scripts/test, which installs the libraries";
    let interpreter = if Path::new(name).extension().is_some_and(|extension| extension == "py") {
        std::env::var("TEST_PYTHON").unwrap_or_else(|_| panic!("TEST_PYTHON {missing}"))
    } else {
        let modules = std::env::var("TEST_NODE_MODULES").unwrap_or_else(|_| panic!("TEST_NODE_MODULES {missing}"));
        // A module is looked for beside the program.
        let beside = folder.join("node_modules");
        if !beside.exists() {
            std::os::unix::fs::symlink(modules, beside).unwrap();
        }
        "node".to_owned()
    };
    let mut program = command(&interpreter, folder);
    let mut child = program.arg(name).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that ends before it has read all says why below.
    let _sent = child.stdin.take().unwrap().write_all(given.to_string().as_bytes());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{name}\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{name}: {error}: {}", String::from_utf8_lossy(&output.stdout)))
}

/// A server with the real time, which the libraries go by.
fn serve(database: &Database) -> (Process, Client) {
    let folder = database.folder.path();
    let program = || {
        let mut program = hourpass(folder);
        program.env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_DATABASE__URL", &database.url).env("HOURPASS_SIGNING__MASTER_KEY", MASTER_KEY);
        program
    };
    let server = Process::start(&mut program());
    let issue =
        ["admin", "issue-key", "--organization", "default", "--service-account", "ci", "--role", "platform-admin", "--role", "organization-admin"];
    let issued = program().args(issue).output().unwrap();
    assert!(issued.status.success(), "{issued:?}");
    let admin = Client::new(&server.url).with(String::from_utf8(issued.stdout).unwrap().trim());
    (server, admin)
}

/// A token, and what a library is to say of it.
#[derive(Serialize)]
struct Case {
    name: String,
    token: String,
    issuer: String,
    audience: String,
    /// How many seconds later than it is the library is to believe it is.
    later: i64,
    /// One of the words that the reason has to hold where it is to be refused; none where it is to be accepted.
    #[serde(skip)]
    because: Vec<&'static str>,
}

/// A token, by what it is, and words of which the reason for refusing it holds one.
type Made = (String, String, &'static [&'static str]);

/// A key to sign with.
struct Private {
    algorithm: SigningAlgorithm,
    kid: String,
    jwk: Value,
    pkcs8: Vec<u8>,
}

impl Private {
    /// One of the forger's.
    fn generate(algorithm: SigningAlgorithm) -> Self {
        let (key, pkcs8) = SigningKey::generate(algorithm).unwrap();
        let jwk = serde_json::from_str(&key.public_jwk().unwrap()).unwrap();
        Self { algorithm, kid: key.kid().to_owned(), jwk, pkcs8: pkcs8.to_vec() }
    }

    /// Those of the server.
    async fn of(database: &Database) -> Vec<Self> {
        let store = Store::open(&database.url, 1, Duration::from_secs(2), OpenMode::CreateIfMissing).await.unwrap();
        let master = MasterKey::parse(&MASTER_KEY.into()).unwrap();
        let open = |key: StoredSigningKey| Self {
            pkcs8: master.unseal(&key.kid, &key.sealed).unwrap().to_vec(),
            jwk: serde_json::from_str(&key.public_jwk).unwrap(),
            algorithm: key.algorithm,
            kid: key.kid,
        };
        store.list_signing_keys().await.unwrap().into_iter().map(open).collect()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self.algorithm {
            SigningAlgorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.pkcs8).unwrap();
                pair.sign(&random, message).unwrap().as_ref().to_vec()
            }
            SigningAlgorithm::EdDsa => Ed25519KeyPair::from_pkcs8(&self.pkcs8).unwrap().sign(message).as_ref().to_vec(),
            SigningAlgorithm::Rs256 => {
                let pair = RsaKeyPair::from_pkcs8(&self.pkcs8).unwrap();
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

fn encode(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

fn signed(header: &Value, payload: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encode(header), encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A published key as a `SubjectPublicKeyInfo` (RFC 5280, section 4.1.2.7).
fn public_der(jwk: &Value) -> Vec<u8> {
    const P256: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04";
    const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
    const RSA_2048: &[u8] =
        b"\x30\x82\x01\x22\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x03\x82\x01\x0f\x00\x30\x82\x01\x0a\x02\x82\x01\x01\x00";
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    match jwk["kty"].as_str().unwrap() {
        "EC" => [P256, &bytes("x"), &bytes("y")].concat(),
        "OKP" => [ED25519, &bytes("x")].concat(),
        _ => [RSA_2048, &bytes("n"), b"\x02\x03\x01\x00\x01"].concat(),
    }
}

/// A server of the forger's own, with the forger's keys, and how often it was asked for them.
struct Lure {
    url: String,
    asked: Arc<AtomicUsize>,
}

impl Lure {
    async fn set(keys: &[Private]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let body = json!({ "keys": keys.iter().map(|key| &key.jwk).collect::<Vec<_>>() }).to_string();
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let _asked = client.read(&mut [0; 4096]).await;
                let _answered = client.write_all(answer.as_bytes()).await;
            }
        });
        Self { url, asked }
    }
}

#[derive(Deserialize)]
struct Published {
    /// As they are written.
    keys: Vec<Box<RawValue>>,
}

/// What a forger can make of a token without the key that signed it.
fn forgeries(good: &str, key: &RawValue, foreign: &Private, lure: &str, others: &[String]) -> Vec<Made> {
    let (head, payload) = (header(good), claims(good));
    let [first, second, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("{good}") };
    let with = |json: &Value, name: &str, value: Value| {
        let mut json = json.clone();
        json[name] = value;
        json
    };
    let mut made: Vec<Made> = Vec::new();
    let mut add = |name: &str, token: String, because| made.push((name.to_owned(), token, because));

    add("another subject", format!("{first}.{}.{signature}", encode(&with(&payload, "sub", json!("root")))), &["signature"]);
    add("a later end", format!("{first}.{}.{signature}", encode(&with(&payload, "exp", json!(4_102_444_800_u64)))), &["signature"]);
    for bit in [0, 7] {
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        bytes[20] ^= 1 << bit;
        add(&format!("a signature with bit {bit} changed"), format!("{first}.{second}.{}", URL_SAFE_NO_PAD.encode(bytes)), &["signature"]);
    }
    let zeros = vec![0; URL_SAFE_NO_PAD.decode(signature).unwrap().len()];
    add("a signature of zeros", format!("{first}.{second}.{}", URL_SAFE_NO_PAD.encode(zeros)), &["signature"]);
    add("no signature", format!("{first}.{second}."), &["signature"]);
    for alg in ["none", "None", "NONE"] {
        let unsigned = format!("{}.{second}.", encode(&with(&head, "alg", json!(alg))));
        add(&format!("alg {alg}"), unsigned.clone(), &["alg"]);
        add(&format!("alg {alg} with a signature"), format!("{unsigned}{signature}"), &["alg"]);
    }

    // The public key taken for a secret.
    let jwk: Value = serde_json::from_str(key.get()).unwrap();
    let der = public_der(&jwk);
    // It is the very key, or else there would be nothing to refuse.
    let algorithm: &dyn VerificationAlgorithm = match foreign.algorithm {
        SigningAlgorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
        SigningAlgorithm::EdDsa => &ED25519,
        SigningAlgorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
    };
    let signed_part = format!("{first}.{second}");
    UnparsedPublicKey::new(algorithm, &der).verify(signed_part.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    let symmetric = with(&head, "alg", json!("HS256"));
    for (what, secret) in [("PEM", pem("PUBLIC KEY", &der).into_bytes()), ("DER", der), ("JWK", key.get().into()), ("emptiness", Vec::new())] {
        add(
            &format!("HS256 by the {what}"),
            signed(&symmetric, &payload, |message| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message).as_ref().to_vec()),
            &["alg", "key"],
        );
    }

    // A key of the forger's, with every hint where to find it.
    let of = |header: Value| signed(&header, &payload, |message| foreign.sign(message));
    let named = with(&head, "kid", json!(foreign.kid));
    let mut nameless = head.clone();
    nameless.as_object_mut().unwrap().remove("kid");
    add("a key of the forger's by the name of ours", of(head.clone()), &["signature"]);
    add("a key of the forger's by its own name", of(named.clone()), &["key"]);
    add("a name that is a path", of(with(&head, "kid", json!("../../../dev/null"))), &["key"]);
    // joserfc reads no header as long as one with an RSA key in it.
    for (what, value) in [("jwk", foreign.jwk.clone()), ("jku", json!(format!("{lure}/jwks.json"))), ("x5u", json!(format!("{lure}/x5u.pem")))] {
        add(&format!("{what}, by the name of ours"), of(with(&head, what, value.clone())), &["signature", "header size"]);
        add(&format!("{what}, by its own name"), of(with(&named, what, value.clone())), &["key", "header size"]);
        add(&format!("{what}, without a name"), of(with(&nameless, what, value)), &["signature", "key", "header size"]);
    }

    // The other keys that are published.
    for kid in others {
        add(&format!("by the name of our key {kid}"), format!("{}.{second}.{signature}", encode(&with(&head, "kid", json!(kid)))), &["alg", "key"]);
    }
    for alg in ["ES256", "EdDSA", "RS256"].into_iter().filter(|alg| head["alg"] != *alg) {
        add(&format!("said to be {alg}"), format!("{}.{second}.{signature}", encode(&with(&head, "alg", json!(alg)))), &["alg", "key"]);
    }
    made
}

/// What is rightly signed by the key of a token, and no access token for anyone: we issue none such, but another may be the issuer one day.
fn misfits(good: &str, key: &Private) -> Vec<Made> {
    let (head, payload) = (header(good), claims(good));
    let sign = |head: &Value, payload: &Value| signed(head, payload, |message| key.sign(message));
    let without = |json: &Value, name: &str| {
        let mut json = json.clone();
        json.as_object_mut().unwrap().remove(name);
        json
    };
    let (mut id_token, mut extended) = (head.clone(), head.clone());
    id_token["typ"] = json!("JWT");
    extended["crit"] = json!(["urn:example:unknown"]);
    extended["urn:example:unknown"] = json!(true);
    let mut made: Vec<Made> = vec![
        ("signed anew".to_owned(), sign(&head, &payload), &[]),
        ("of another typ".to_owned(), sign(&id_token, &payload), &["typ"]),
        ("of no typ".to_owned(), sign(&without(&head, "typ"), &payload), &["typ"]),
        ("with an extension that nobody knows".to_owned(), sign(&extended, &payload), &["crit", "extension", "header"]),
    ];
    for (claim, because) in [
        ("exp", &["\"exp\"", "'exp'"]),
        ("iat", &["\"iat\"", "'iat'"]),
        ("iss", &["\"iss\"", "'iss'"]),
        ("aud", &["\"aud\"", "'aud'"]),
        ("sub", &["\"sub\"", "'sub'"]),
        ("jti", &["\"jti\"", "'jti'"]),
    ] {
        made.push((format!("without {claim}"), sign(&head, &without(&payload, claim)), because));
    }
    made
}

on_both_engines! {
    async fn a_library_accepts_our_tokens_and_no_forgery(engine: Engine) {
        let database = engine.database().await;
        let (server, admin) = serve(&database);
        let issuer = server.url.clone();
        let made = admin.post("/api/v1/service_accounts/ci/api_keys", &json!({ "name": "interop" })).await.expect(201);
        let key = made["key"].as_str().unwrap();
        let foreign = SigningAlgorithm::ALL.map(Private::generate);
        let lure = Lure::set(&foreign).await;

        let mut tokens = BTreeMap::new();
        for algorithm in SigningAlgorithm::ALL {
            let slug = algorithm.as_str().to_lowercase();
            let audience = format!("https://{slug}.example.com");
            let workspace = json!({ "slug": slug, "audience": audience, "signing_algorithm": algorithm });
            admin.post("/api/v1/workspaces", &workspace).await.expect(201);
            if algorithm != SigningAlgorithm::Es256 {
                // The first key of an algorithm signs only after a while, and here the time is the real one.
                admin.post("/api/v1/signing_keys/rotate", &json!({ "algorithm": algorithm, "now": true })).await.expect(200);
            }
            let token = Client::new(&issuer).post_form("/auth/login", &[("password", key), ("workspace", &slug)]).await.token();
            assert_eq!((&header(&token)["alg"], &header(&token)["typ"]), (&json!(algorithm), &json!("at+jwt")));
            tokens.insert(algorithm, (token, audience));
        }
        let published: Published = serde_json::from_str(&admin.get("/.well-known/jwks.json").await.text).unwrap();
        let ours = Private::of(&database).await;
        let list = admin.get("/status-lists/0").await.text;

        let mut cases = Vec::new();
        for (algorithm, (token, audience)) in &tokens {
            let mut add = |name: &str, token: &str, (issuer, audience): (&str, &str), later, because: &[&'static str]| {
                let (name, because) = (format!("{algorithm}: {name}"), because.to_vec());
                cases.push(Case { name, token: token.to_owned(), issuer: issuer.to_owned(), audience: audience.to_owned(), later, because });
            };
            let here = (issuer.as_str(), audience.as_str());
            add("good", token, here, 0, &[]);
            add("good, near its end", token, here, 3_500, &[]);
            add("over", token, here, 3_601, &["expired", "\"exp\""]);
            for (_, elsewhere) in tokens.values().filter(|(other, _)| other != token) {
                add(&format!("for {elsewhere}"), token, (&issuer, elsewhere), 0, &["aud"]);
            }
            add("of another issuer", token, ("https://other.example.com", audience), 0, &["issuer", "\"iss\"", "'iss'"]);
            // Ours, and signed, but no access token.
            add("a status list", &list, here, 0, &["typ", "aud", "iss"]);
            let kid = |token: &str| header(token)["kid"].as_str().unwrap().to_owned();
            let own = published.keys.iter().find(|key| key.get().contains(&kid(token))).unwrap();
            let others: Vec<_> = tokens.values().map(|(token, _)| kid(token)).filter(|other| *other != kid(token)).collect();
            let foreign = foreign.iter().find(|key| key.algorithm == *algorithm).unwrap();
            for (name, token, because) in forgeries(token, own, foreign, &lure.url, &others) {
                add(&name, &token, here, 0, because);
            }
            for (name, token, because) in misfits(token, ours.iter().find(|key| key.kid == kid(token)).unwrap()) {
                add(&name, &token, here, 0, because);
            }
            // None of the above has spoilt what the library knows.
            add("good, again", token, here, 0, &[]);
        }

        let given = json!({ "issuer": issuer, "cases": cases });
        let mut wrong = Vec::new();
        for library in LIBRARIES {
            let verdicts: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_value(ask(database.folder.path(), library, &given)).unwrap();
            assert_eq!(verdicts.len(), cases.len(), "{}: a case was left out, or two have one name", library.0);
            for Case { name, token, because, .. } in &cases {
                let verdict = &verdicts[name];
                let as_wanted = if because.is_empty() {
                    verdict.get("accepted") == Some(&claims(token))
                } else {
                    let reason = verdict.get("refused").and_then(Value::as_str).unwrap_or_default().to_lowercase();
                    !reason.is_empty() && because.iter().any(|word| reason.contains(word))
                };
                if !as_wanted {
                    wrong.push(format!("{}, {name}: {verdict:?}, wanted {because:?}", library.0));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(lure.asked.load(Ordering::SeqCst), 0, "a library asked where the token told it to");
        Client::new(&lure.url).get("/jwks.json").await.expect(200);
        assert_eq!(lure.asked.load(Ordering::SeqCst), 1);
        server.stop();
    }

    async fn a_library_reads_the_status_of_a_token(engine: Engine) {
        let database = engine.database().await;
        let (server, admin) = serve(&database);
        let mut tokens = serde_json::Map::new();
        let mut keys = Vec::new();
        for name in ["ended", "untouched"] {
            let made = admin.post("/api/v1/service_accounts", &json!({ "name": name, "default_key": true })).await.expect(201);
            tokens.insert(name.to_owned(), Client::new(&server.url).login(made["key"].as_str().unwrap()).await.token().into());
            keys.push(format!("/api/v1/service_accounts/{name}/api_keys/{}", made["api_key_id"].as_str().unwrap()));
        }
        let given = json!({ "issuer": server.url, "tokens": tokens });
        let expected = |status: u8| json!({
            "type": "application/statuslist+jwt", "refused": null, "status": status, "another_uri": "ERR_JWT_CLAIM_VALIDATION_FAILED",
            "forged": "ERR_JWS_SIGNATURE_VERIFICATION_FAILED", "not_a_list": "ERR_JWT_CLAIM_VALIDATION_FAILED",
        });
        assert_eq!(ask(database.folder.path(), STATUS_LIST, &given), json!({ "ended": expected(0), "untouched": expected(0) }));
        admin.patch(&keys[0], &json!({ "active": false })).await.expect(200);
        assert_eq!(ask(database.folder.path(), STATUS_LIST, &given), json!({ "ended": expected(1), "untouched": expected(0) }));
        server.stop();
    }

    /// Envoy's `jwt_authn` cannot be installed here; with `issuer` and without `audiences` it checks what the mode "issuer" checks.
    async fn document_presented_as_a_token_is_refused_everywhere(engine: Engine) {
        let database = engine.database().await;
        let (server, admin) = serve(&database);
        let issuer = server.url.as_str();
        let made = admin.post("/api/v1/service_accounts/ci/api_keys", &json!({ "name": "bearer" })).await.expect(201);
        let key = made["key"].as_str().unwrap();
        let anyone = Client::new(issuer);
        // All that is signed and is no access token.
        let mut documents = BTreeMap::new();
        for kind in DocumentKind::ALL {
            let addresses = match kind {
                DocumentKind::StatusList => admin.get("/status-lists").await.expect(200)["status_lists"].clone(),
            };
            for address in addresses.as_array().unwrap().iter().map(|address| address.as_str().unwrap()) {
                assert!(address.starts_with(&format!("{issuer}{}/", kind.folder())), "{address}");
                let document = anyone.get(address.strip_prefix(issuer).unwrap()).await.text;
                assert_eq!((&header(&document)["typ"], &claims(&document)["aud"]), (&json!(kind.typ()), &json!(address)));
                documents.insert(address.to_owned(), document);
            }
        }
        assert!(!documents.is_empty());

        let own = anyone.login(key).await.token();
        let workspace = anyone.post_form("/auth/login", &[("password", key), ("workspace", "default")]).await.token();
        let receivers = [&own, &workspace].map(|token| {
            let mut tokens = documents.clone();
            tokens.insert("good".to_owned(), token.clone());
            json!({ "audience": claims(token)["aud"], "tokens": tokens })
        });
        let modes = json!({ "audience and issuer": ["audience", "issuer"], "audience": ["audience"], "issuer": ["issuer"] });
        let given = json!({ "issuer": issuer, "receivers": receivers, "modes": modes });
        for program in BEARERS {
            let verdicts: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_value(ask(database.folder.path(), program, &given)).unwrap();
            assert_eq!(verdicts.len(), 3 * 3 * 2, "{verdicts:#?}");
            for (receiver, verdicts) in verdicts {
                for (name, verdict) in &verdicts {
                    assert_eq!(verdict == "accepted", name == "good", "{receiver}, {name}: {verdict}");
                }
                assert_eq!(verdicts.len(), documents.len() + 1);
            }
        }
        // Ours: the verifier, and Hourpass's own API.
        for token in [&own, &workspace] {
            let audience = claims(token)["aud"].as_str().unwrap().to_owned();
            let verifier = hourpass_verifier::Verifier::builder(issuer).audience(&audience).build().await.unwrap();
            verifier.verify(token).await.unwrap();
            for document in documents.values() {
                assert_eq!(verifier.verify(document).await.unwrap_err().code(), "wrong_type");
            }
        }
        assert_eq!(anyone.with(&own).get("/users/me").await.status, 200);
        for document in documents.values() {
            assert_eq!(anyone.with(document).get("/users/me").await.status, 401);
        }
        // And nobody becomes a receiver of documents.
        for audience in documents.keys().map(String::as_str).chain([issuer, &format!("{issuer}/"), &format!("{issuer}/x")]) {
            let answer = admin.post("/api/v1/workspaces", &json!({ "slug": "posing", "audience": audience })).await;
            assert_eq!(answer.problem(), (422, "validation_failed".to_owned()), "{audience}");
        }
        server.stop();
    }
}
