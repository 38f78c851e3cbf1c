//! `/static/{name}`: the files of the pages, which are part of the binary.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Path;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::error::ApiError;

struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
    /// Where it is found. The query changes with the contents, so that whoever has it need not ask again.
    url: String,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        asset("app.css", "text/css; charset=utf-8", include_bytes!("../../../static/app.css")),
        asset("app.js", "text/javascript; charset=utf-8", include_bytes!("../../../static/app.js")),
        asset("icon.svg", "image/svg+xml", include_bytes!("../../../static/icon.svg")),
    ]
});

fn asset(name: &'static str, content_type: &'static str, bytes: &'static [u8]) -> Asset {
    let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, bytes));
    Asset { name, content_type, bytes, url: format!("/static/{name}?{}", hash.get(..12).unwrap_or_default()) }
}

/// The URL of the file of this name, for templates.
pub(super) fn url(name: &str) -> &'static str {
    ASSETS.iter().find(|asset| asset.name == name).map_or("", |asset| &asset.url)
}

pub(super) async fn get(name: Path<String>) -> Result<HttpResponse, ApiError> {
    let asset = ASSETS.iter().find(|asset| asset.name == *name).ok_or_else(|| ApiError::new("not_found", "there is no such file"))?;
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, asset.content_type));
    response.insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"));
    Ok(response.body(asset.bytes))
}
