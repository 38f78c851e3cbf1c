//! The conformance vectors of `vectors/`: made here, and run here as any other validator runs them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::hmac;
use hourpass_verifier::{Snapshot, Verifier};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::signer::{Signer, base64url, is_high, jwks, list, list_claims, twin};

const ISSUER: &str = "https://hourpass.example.com";
const AUDIENCE: &str = "https://pipelines.example.com";
const NOW: u64 = 1_800_000_000;

#[derive(Serialize, Deserialize)]
struct File {
    description: String,
    issuer: String,
    audience: String,
    now: u64,
    jwks: Value,
    status_lists: BTreeMap<String, String>,
    cases: Vec<Case>,
}

#[derive(Serialize, Deserialize)]
struct Case {
    name: String,
    token: String,
    verdict: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

#[tokio::test]
async fn every_vector_is_judged_rightly() {
    let mut count = (0, 0);
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let file: File = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let snapshot = Snapshot { issuer: file.issuer.clone(), jwks: file.jwks, status_lists: file.status_lists };
        let now = UNIX_EPOCH + Duration::from_secs(file.now);
        let verifier = Verifier::builder(&file.issuer).audience(&file.audience).clock(move || now).offline(&snapshot).unwrap();
        for case in file.cases {
            let name = format!("{}: {}", path.file_name().unwrap().display(), case.name);
            match (verifier.verify(&case.token).await, case.verdict.as_str()) {
                (Ok(_), "valid") => count.0 += 1,
                (Err(error), "refused") => {
                    assert_eq!(Some(error.code()), case.code.as_deref(), "{name}");
                    assert_eq!(Some(error.status()), case.status, "{name}");
                    count.1 += 1;
                }
                (outcome, verdict) => panic!("{name}: {outcome:?}, and not {verdict}"),
            }
        }
    }
    assert!(count.0 >= 10 && count.1 >= 70, "{count:?}");
}

/// Collects the cases of a file.
struct Maker {
    es256: Signer,
    other: Signer,
    cases: Vec<Case>,
}

impl Maker {
    fn new() -> Self {
        Self { es256: Signer::fixed("es256"), other: Signer::fixed("es256-other"), cases: Vec::new() }
    }

    fn valid(&mut self, name: &str, token: String) {
        self.cases.push(Case { name: name.to_owned(), token, verdict: "valid".to_owned(), code: None, status: None });
    }

    fn refused(&mut self, name: &str, code: &str, token: String) {
        let status = if code.ends_with("_unavailable") { 503 } else { 401 };
        let (code, status) = (Some(code.to_owned()), Some(status));
        self.cases.push(Case { name: name.to_owned(), token, verdict: "refused".to_owned(), code, status });
    }

    /// Compares what was made with what is there, but for signatures, which differ each time; with `HOURPASS_MAKE_VECTORS` set, writes it instead.
    fn check(&mut self, name: &str, description: &str, status_lists: BTreeMap<String, String>) {
        let signers = [&self.es256, &older(), &Signer::fixed("eddsa"), &Signer::fixed("rs256")];
        let file = File {
            description: description.to_owned(),
            issuer: ISSUER.to_owned(),
            audience: AUDIENCE.to_owned(),
            now: NOW,
            jwks: jwks(&signers),
            status_lists,
            cases: std::mem::take(&mut self.cases),
        };
        let path = folder().join(name);
        if std::env::var_os("HOURPASS_MAKE_VECTORS").is_some() {
            std::fs::write(&path, serde_json::to_string_pretty(&file).unwrap() + "\n").unwrap();
        }
        let there: File = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let told = |file: &File| {
            let case = |case: &Case| (case.name.clone(), case.verdict.clone(), case.code.clone(), case.status, case.token.split('.').count());
            (file.jwks.clone(), file.status_lists.keys().cloned().collect::<Vec<_>>(), file.cases.iter().map(case).collect::<Vec<_>>())
        };
        assert_eq!(told(&there), told(&file), "{name}: set HOURPASS_MAKE_VECTORS to make it anew");
    }

    fn token(&self, edit: impl FnOnce(&mut Value)) -> String {
        let mut claims = claims();
        edit(&mut claims);
        self.es256.token(&claims)
    }

    fn header(&self, edit: impl FnOnce(&mut Value)) -> String {
        let mut header = self.es256.header("at+jwt");
        edit(&mut header);
        self.es256.sign(&header.to_string(), &claims().to_string())
    }
}

/// A key of an older Hourpass, whose signatures may have a high s.
fn older() -> Signer {
    let mut older = Signer::fixed("es256-other");
    "es256-older".clone_into(&mut older.kid);
    older
}

fn uri(id: &str) -> String {
    format!("{ISSUER}/status-lists/{id}")
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "0199-account", "aud": AUDIENCE, "client_id": "0199-account", "jti": "0199-token", "iat": NOW - 600, "exp": NOW + 3000,
        "scope": "pipelines.read pipelines.deploy", "org_id": "0199-organization", "workspace_id": "0199-workspace", "api_key_id": "0199-key",
        "principal_type": "service_account", "name": "ci", "status": {"status_list": {"idx": 0, "uri": uri("good")}},
    })
}

fn good_lists() -> BTreeMap<String, String> {
    let claims = list_claims(&uri("good"), 1, &[0b10, 0], NOW - 10, NOW + 290, 5);
    BTreeMap::from([(uri("good"), list(&Signer::fixed("es256"), &claims))])
}

#[test]
fn what_is_there_is_what_is_made() {
    let mut maker = Maker::new();
    signatures(&mut maker);
    maker.check("signatures.json", "Algorithms, keys, and what was altered after signing", good_lists());
    headers(&mut maker);
    maker.check("headers.json", "The JOSE header: RFC 7515, RFC 8725, RFC 9068", good_lists());
    forms(&mut maker);
    maker.check("forms.json", "Spelling: base64url, parts, JSON", good_lists());
    payloads(&mut maker);
    maker.check("claims.json", "Claims: RFC 7519, RFC 9068", good_lists());
    let lists = statuses(&mut maker);
    maker.check("status.json", "Status lists: draft-ietf-oauth-status-list", lists);
}

fn signatures(maker: &mut Maker) {
    for name in ["es256", "eddsa", "rs256"] {
        let signer = Signer::fixed(name);
        let token = signer.token(&claims());
        let (message, signature) = token.rsplit_once('.').unwrap();
        let mut flipped = signer.signature(message.as_bytes());
        flipped[3] ^= 0x10;
        let mut more = claims();
        more["scope"] = "everything".into();
        let header = message.split_once('.').unwrap().0;
        let payload = format!("{header}.{}.{signature}", base64url(more.to_string()));
        maker.refused(&format!("{name}: altered payload"), "bad_signature", payload);
        maker.refused(&format!("{name}: altered signature"), "bad_signature", format!("{message}.{}", base64url(&flipped)));
        maker.refused(&format!("{name}: cut signature"), "bad_signature", format!("{message}.{}", base64url(&flipped[1..])));
        maker.refused(&format!("{name}: no signature"), "bad_signature", format!("{message}."));
        maker.refused(&format!("{name}: signature of zeros"), "bad_signature", format!("{message}.{}", base64url(vec![0; flipped.len()])));
        maker.valid(name, token);
    }
    let message = format!("{}.{}", base64url(json!({"alg": "HS256", "typ": "at+jwt", "kid": "es256"}).to_string()), base64url(claims().to_string()));
    for (name, secret) in [("its JWK", maker.es256.jwk().to_string()), ("its x", maker.es256.jwk()["x"].as_str().unwrap().to_owned())] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
        maker.refused(&format!("HS256 with the public key as secret: {name}"), "wrong_algorithm", format!("{message}.{}", base64url(tag)));
    }
    maker.refused("a key that is not published", "unknown_key", maker.other.token(&claims()));
    let respell = |token: &str, signer: &Signer, high: bool| {
        let message = token.rsplit_once('.').unwrap().0;
        let signature = signer.signature(message.as_bytes());
        let signature = if is_high(&signature) == high { signature } else { twin(&signature) };
        format!("{message}.{}", base64url(signature))
    };
    let (good, older) = (maker.token(|_| ()), older());
    maker.refused("es256: (r, n - s), of a key with hourpass_low_s", "bad_signature", respell(&good, &maker.es256, true));
    maker.valid("es256: s at most n / 2, of a key with hourpass_low_s", respell(&good, &maker.es256, false));
    maker.valid("es256: s above n / 2, of a key without hourpass_low_s", respell(&older.token(&claims()), &older, true));
    let mut posing = Signer::fixed("es256-other");
    "es256".clone_into(&mut posing.kid);
    maker.refused("a foreign key under a published kid", "bad_signature", posing.token(&claims()));
}

fn headers(maker: &mut Maker) {
    let cases = [
        ("crit", "crit", json!(["exp"]), "unsupported_header"),
        ("crit that is empty", "crit", json!([]), "unsupported_header"),
        ("b64", "b64", json!(false), "unsupported_header"),
        ("embedded jwk", "jwk", maker.other.jwk(), "unsupported_header"),
        ("jku", "jku", json!("https://attacker.example/jwks.json"), "unsupported_header"),
        ("x5u", "x5u", json!("https://attacker.example/cert.pem"), "unsupported_header"),
        ("x5c", "x5c", json!(["AAAA"]), "unsupported_header"),
        ("typ JWT", "typ", json!("JWT"), "wrong_type"),
        ("typ of a status list", "typ", json!("statuslist+jwt"), "wrong_type"),
        ("typ null", "typ", Value::Null, "wrong_type"),
        ("alg of another published key", "alg", json!("RS256"), "wrong_algorithm"),
        ("alg in small letters", "alg", json!("es256"), "wrong_algorithm"),
        ("alg that nobody knows", "alg", json!("ES257"), "wrong_algorithm"),
        ("kid that nobody knows", "kid", json!("nobody"), "unknown_key"),
        ("kid that is a path", "kid", json!("../../../dev/null"), "unknown_key"),
        ("kid null", "kid", Value::Null, "malformed"),
        ("kid that is a number", "kid", json!(1), "malformed"),
    ];
    for (name, parameter, value, code) in cases {
        let token = maker.header(|header| header[parameter] = value);
        maker.refused(name, code, token);
    }
    for parameter in ["typ", "alg", "kid"] {
        let token = maker.header(|header| drop(header.as_object_mut().unwrap().remove(parameter)));
        maker.refused(&format!("no {parameter}"), if parameter == "typ" { "wrong_type" } else { "malformed" }, token);
    }
    for alg in ["none", "None", "nOnE"] {
        let header = json!({"alg": alg, "typ": "at+jwt", "kid": "es256"}).to_string();
        let token = format!("{}.{}.", base64url(header), base64url(claims().to_string()));
        maker.refused(&format!("alg {alg}"), "wrong_algorithm", token);
    }
    for typ in ["AT+JWT", "application/at+jwt"] {
        let token = maker.header(|header| header["typ"] = typ.into());
        maker.valid(&format!("typ {typ}"), token);
    }
}

fn forms(maker: &mut Maker) {
    let good = maker.token(|_| ());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(signature.chars().last().unwrap()).unwrap();
    let respelled = format!("{message}.{}{}", &signature[..signature.len() - 1], alphabet.chars().nth(last ^ 1).unwrap());
    let claims = claims().to_string();
    let es256 = maker.es256.header("at+jwt").to_string();
    let twice = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    let cases = [
        ("nothing", "malformed", String::new()),
        ("two parts", "malformed", message.to_owned()),
        ("four parts", "malformed", format!("{good}.AAAA")),
        ("padding of the signature", "malformed", format!("{good}==")),
        ("padding of the header", "malformed", format!("{header}=.{payload}.{signature}")),
        ("bits left over in the signature", "malformed", respelled),
        ("a line feed at the end", "malformed", format!("{good}\n")),
        ("a space in front", "malformed", format!(" {good}")),
        ("a header that is no JSON", "malformed", maker.es256.sign("{", &claims)),
        ("a payload that is no object", "malformed", maker.es256.sign(&es256, "[]")),
        ("a payload with more behind it", "malformed", maker.es256.sign(&es256, &format!("{claims}{{}}"))),
        ("alg twice", "duplicate_member", maker.es256.sign(&twice(&es256, r#""alg":"none""#), &claims)),
        ("exp twice", "duplicate_member", maker.es256.sign(&es256, &twice(&claims, r#""exp":9999999999"#))),
        ("exp twice, once escaped", "duplicate_member", maker.es256.sign(&es256, &twice(&claims, r#""\u0065xp":9999999999"#))),
        ("idx twice", "duplicate_member", maker.es256.sign(&es256, &claims.replacen(r#""idx":0"#, r#""idx":1,"idx":0"#, 1))),
        ("longer than 8 KiB", "too_long", maker.token(|claims| claims["padding"] = "x".repeat(8 * 1024).into())),
    ];
    for (name, code, token) in cases {
        maker.refused(name, code, token);
    }
    maker.valid("white space within the JSON", maker.es256.sign(&format!(" {es256}\n"), &claims.replace(',', ",\n\t")));
}

fn payloads(maker: &mut Maker) {
    let cases = [
        ("another issuer", "iss", json!("https://attacker.example"), "wrong_issuer"),
        ("an issuer with a slash more", "iss", json!(format!("{ISSUER}/")), "wrong_issuer"),
        ("a list of issuers", "iss", json!([ISSUER]), "invalid_claim"),
        ("another audience", "aud", json!("https://other.example.com"), "wrong_audience"),
        ("an audience that begins so", "aud", json!(format!("{AUDIENCE}.attacker.example")), "wrong_audience"),
        ("an empty list of audiences", "aud", json!([]), "wrong_audience"),
        ("an audience that is no text", "aud", json!([AUDIENCE, 1]), "invalid_claim"),
        ("expired", "exp", json!(NOW - 3600), "expired"),
        ("exp in a text", "exp", json!((NOW + 3000).to_string()), "invalid_claim"),
        ("exp below zero", "exp", json!(-1), "invalid_claim"),
        ("nbf in an hour", "nbf", json!(NOW + 3600), "not_yet_valid"),
        ("nbf in a text", "nbf", json!((NOW - 3600).to_string()), "invalid_claim"),
        ("nbf null", "nbf", Value::Null, "invalid_claim"),
        ("nbf below zero", "nbf", json!(-1), "invalid_claim"),
        ("nbf with a fraction", "nbf", json!(1.5), "invalid_claim"),
        ("iat in an hour", "iat", json!(NOW + 3600), "not_yet_valid"),
        ("an empty sub", "sub", json!(""), "invalid_claim"),
        ("sub that is a number", "sub", json!(1), "invalid_claim"),
        ("scope that is a list", "scope", json!(["pipelines.read"]), "invalid_claim"),
    ];
    for (name, claim, value, code) in cases {
        let token = maker.token(|claims| claims[claim] = value);
        maker.refused(name, code, token);
    }
    for claim in ["iss", "sub", "aud", "exp", "iat", "jti"] {
        let token = maker.token(|claims| drop(claims.as_object_mut().unwrap().remove(claim)));
        maker.refused(&format!("no {claim}"), "invalid_claim", token);
    }
    maker.valid("a list of audiences with ours", maker.token(|claims| claims["aud"] = json!(["https://other.example.com", AUDIENCE])));
    maker.valid("nbf an hour ago", maker.token(|claims| claims["nbf"] = (NOW - 3600).into()));
    maker.valid("no scope", maker.token(|claims| drop(claims.as_object_mut().unwrap().remove("scope"))));
    maker.valid("claims that nobody knows", maker.token(|claims| claims["team"] = json!({"size": 3})));
}

fn statuses(maker: &mut Maker) -> BTreeMap<String, String> {
    let signer = Signer::fixed("es256");
    let mut lists = good_lists();
    // 0 valid, 1 invalid, 2 suspended, 3 of the application.
    let wide = |id: &str| list_claims(&uri(id), 2, &[0b1110_0100], NOW - 10, NOW + 290, 5);
    let with = |id: &str, name: &str, value: Value| {
        let mut claims = wide(id);
        claims[name] = value;
        list(&signer, &claims)
    };
    let mut posing = Signer::fixed("es256-other");
    "es256".clone_into(&mut posing.kid);
    lists.insert(uri("wide"), list(&signer, &wide("wide")));
    lists.insert(uri("bytes"), list(&signer, &list_claims(&uri("bytes"), 8, &[0, 1], NOW - 10, NOW + 290, 5)));
    lists.insert(uri("expired"), {
        let claims = list_claims(&uri("expired"), 2, &[0b1110_0100], NOW - 7200, NOW - 3600, 5);
        list(&signer, &claims)
    });
    lists.insert(uri("wrong-sub"), with("wrong-sub", "sub", json!(uri("good"))));
    lists.insert(uri("wrong-aud"), with("wrong-aud", "aud", json!(AUDIENCE)));
    lists.insert(uri("no-aud"), {
        let mut claims = wide("no-aud");
        claims.as_object_mut().unwrap().remove("aud");
        claims["iss"] = ISSUER.into();
        list(&signer, &claims)
    });
    lists.insert(uri("wrong-iss"), with("wrong-iss", "iss", json!("https://attacker.example")));
    lists.insert(uri("wrong-typ"), signer.sign(&signer.header("at+jwt").to_string(), &wide("wrong-typ").to_string()));
    lists.insert(uri("wrong-signature"), list(&posing, &wide("wrong-signature")));
    lists.insert(uri("wrong-bits"), with("wrong-bits", "status_list", json!({"bits": 3, "lst": wide("x")["status_list"]["lst"]})));
    lists.insert(uri("future"), with("future", "iat", json!(NOW + 3600)));
    lists.insert(uri("bomb"), list(&signer, &list_claims(&uri("bomb"), 8, &vec![0; 17 * 1024 * 1024], NOW - 10, NOW + 290, 5)));
    let at = |maker: &Maker, id: &str, idx: u64| maker.token(|claims| claims["status"]["status_list"] = json!({"idx": idx, "uri": uri(id)}));
    maker.valid("valid", at(maker, "wide", 0));
    maker.valid("valid in a list of bytes", at(maker, "bytes", 0));
    maker.valid("valid in a list of an older server, with iss and no aud", at(maker, "no-aud", 0));
    let cases = [
        ("revoked", "good", 1, "revoked"),
        ("revoked, two bits", "wide", 1, "revoked"),
        ("revoked, eight bits", "bytes", 1, "revoked"),
        ("suspended", "wide", 2, "suspended"),
        ("a status of the application", "wide", 3, "unknown_status"),
        ("idx right behind the list", "wide", 4, "status_out_of_range"),
        ("idx far behind the list", "good", u64::MAX, "status_out_of_range"),
        ("a list that is expired", "expired", 0, "status_unavailable"),
        ("a list that names another address", "wrong-sub", 0, "status_unavailable"),
        ("a list for another audience", "wrong-aud", 0, "status_unavailable"),
        ("a list of another issuer", "wrong-iss", 0, "status_unavailable"),
        ("a list of another type", "wrong-typ", 0, "status_unavailable"),
        ("a list of a foreign key", "wrong-signature", 0, "status_unavailable"),
        ("a list of three bits", "wrong-bits", 0, "status_unavailable"),
        ("a list of the future", "future", 0, "status_unavailable"),
        ("a list of more than 16 MiB", "bomb", 0, "status_unavailable"),
        ("a list that is not there", "nowhere", 0, "status_unavailable"),
    ];
    for (name, id, idx, code) in cases {
        let token = at(maker, id, idx);
        maker.refused(name, code, token);
    }
    let foreign = ["https://attacker.example/status-lists/good", "https://hourpass.example.com.attacker.example/status-lists/good"];
    for uri in foreign {
        maker.refused(&format!("list at {uri}"), "foreign_status_list", maker.token(|claims| claims["status"]["status_list"]["uri"] = uri.into()));
    }
    let list_as_token = lists[&uri("good")].clone();
    maker.refused("a list presented as a token", "wrong_type", list_as_token);
    maker.refused("a path upwards", "foreign_status_list", at(maker, "../admin", 0));
    maker.refused("no status", "no_status", maker.token(|claims| drop(claims.as_object_mut().unwrap().remove("status"))));
    maker.refused("a status without a list", "invalid_claim", maker.token(|claims| claims["status"] = json!({})));
    maker.refused("idx below zero", "invalid_claim", maker.token(|claims| claims["status"]["status_list"]["idx"] = (-1).into()));
    lists
}
