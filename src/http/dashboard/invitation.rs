//! `/invitation`: whoever was invited sets a password. The code of the link stands behind its `#`, so that it reaches no log; a script puts it into the form, and
//! without one it is pasted.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::super::api::fields::Fields;
use super::super::api::users;
use super::super::body::Form;
use super::super::credential::origin;
use super::super::error::ApiError;
use super::super::{State, cookie};
use super::mistakes::Mistakes;
use super::visit::{page, see_other};
use crate::domain::api_key::RawApiKey;
use crate::domain::name::Invalid;

#[derive(Template)]
#[template(path = "invitation.html")]
struct View<'a> {
    /// What was sent, where it is only the password that was wrong: its link is gone from the address by then.
    code: &'a str,
    mistakes: &'a Mistakes,
}

pub(super) async fn show() -> Result<HttpResponse, ApiError> {
    page(StatusCode::OK, &View { code: "", mistakes: &Mistakes::default() })
}

pub(super) async fn accept(state: Data<State>, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    if !cookie::same_origin(&state, &request) {
        return Err(cookie::cross_site());
    }
    let mut form = Form::read_credentials(&request, payload, state.limits).await?;
    let (code, password) = (form.take("invitation")?.unwrap_or_default(), form.take("password")?.unwrap_or_default());
    let code = code_of(&code);
    let accepted = async {
        let mut fields = Fields::default();
        fields.check("invitation", if code.is_empty() { Err(Invalid("must not be empty".to_owned())) } else { Ok(()) });
        let password = fields.check("password", users::password(password));
        let password = fields.finish_with(password)?;
        let secret = RawApiKey::from_presented(code.to_owned());
        Ok::<_, ApiError>(state.management.accept_invitation(&secret, &password, origin(&state, &request)).await?)
    };
    match accepted.await {
        Ok(_) => {
            state.follower.confirm().await;
            Ok(see_other("/sign-in?notice=password_set"))
        }
        Err(error) => {
            let mistakes = Mistakes::of(error, "invitation")?;
            let only_password = mistakes.at("password").is_some() && mistakes.at("invitation").is_none();
            page(mistakes.status(), &View { code: if only_password { code } else { "" }, mistakes: &mistakes })
        }
    }
}

/// The code, also where the whole link was pasted.
fn code_of(text: &str) -> &str {
    let text = text.trim();
    text.rsplit_once('#').map_or(text, |(_, code)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_link_may_be_pasted() {
        assert_eq!(code_of(" hp_invite_x \n"), "hp_invite_x");
        assert_eq!(code_of("https://hourpass.example.com/invitation#hp_invite_x"), "hp_invite_x");
    }
}
