//! Files that are part of the program: sent with a tag of their content, and not again to who has them already.

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::io::Write;

use super::status_lists::{names, wants};

/// Content that stays as it is for as long as the program runs.
#[derive(Debug)]
pub(super) struct Cached {
    media: &'static str,
    plain: Bytes,
    gzip: Option<Bytes>,
    tag: String,
}

impl Cached {
    /// Content of this type.
    pub(super) fn new(media: &'static str, content: impl Into<Bytes>) -> Self {
        let plain = content.into();
        let hash = digest::digest(&digest::SHA256, &plain);
        let gzip = gzip(&plain).filter(|gzip| gzip.len() < plain.len());
        // Weak, because the compressed form has the same.
        let tag = format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(hash.as_ref().get(..12).unwrap_or_default()));
        Self { media, plain, gzip, tag }
    }

    /// The answer to a request, begun with the headers of `answer`. It may be kept, but has to be asked about each time, so that an upgrade shows at once.
    pub(super) fn answer(&self, request: &HttpRequest, mut answer: HttpResponseBuilder) -> HttpResponse {
        answer.insert_header((ETAG, self.tag.as_str())).insert_header((CACHE_CONTROL, "no-cache")).insert_header((VARY, "Accept-Encoding"));
        if names(request, &IF_NONE_MATCH, |named| named == "*" || named.trim_start_matches("W/") == self.tag.trim_start_matches("W/")) {
            return answer.status(StatusCode::NOT_MODIFIED).finish();
        }
        answer.insert_header((CONTENT_TYPE, self.media));
        match &self.gzip {
            Some(gzip) if names(request, &ACCEPT_ENCODING, |coding| wants(coding, &["gzip"])) => {
                answer.insert_header((CONTENT_ENCODING, "gzip")).body(gzip.clone())
            }
            _ => answer.body(self.plain.clone()),
        }
    }
}

fn gzip(content: &[u8]) -> Option<Bytes> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).ok()?;
    encoder.finish().ok().map(Bytes::from)
}
