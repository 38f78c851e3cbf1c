//! What is kept as codes, in words: actions, reasons, programs.

use super::super::error::CODES;
use crate::domain::audit::Action;

/// What was done, after whoever did it and before what it was done to: `ci-deploy` *exchanged its key for a token for* `staging`.
pub(super) fn action(name: &str) -> &str {
    match Action::ALL.into_iter().find(|action| action.as_str() == name) {
        Some(action) => in_words(action),
        None => name,
    }
}

fn in_words(action: Action) -> &'static str {
    match action {
        Action::TokenIssue => "asked for a token for",
        Action::OrganizationCreate => "made the organization",
        Action::OrganizationUpdate => "changed the organization",
        Action::OrganizationDelete => "deleted the organization",
        Action::WorkspaceCreate => "made the workspace",
        Action::WorkspaceUpdate => "changed the workspace",
        Action::WorkspaceDelete => "deleted the workspace",
        Action::ProjectCreate => "made the project",
        Action::ProjectUpdate => "changed the project",
        Action::ProjectDelete => "deleted the project",
        Action::ServiceAccountCreate => "made the service account",
        Action::ServiceAccountUpdate => "changed the service account",
        Action::ServiceAccountDelete => "deleted the service account",
        Action::ServiceAccountRevokeTokens => "ended the tokens of the service account",
        Action::ApiKeyCreate => "made the API key",
        Action::ApiKeyImport => "imported the API key",
        Action::ApiKeyUpdate => "changed the API key",
        Action::ApiKeyRotate => "rotated the API key",
        Action::ApiKeyDelete => "deleted the API key",
        Action::ApiKeyRevokeTokens => "ended the tokens of the API key",
        Action::ApiKeyCompromise => "reported as leaked the API key",
        Action::CredentialEnd => "ended what was made for others by",
        Action::CredentialAdopt => "became the maker of what was made for others by",
        Action::UserCreate => "made known the person",
        Action::UserUpdate => "changed the person",
        Action::UserDelete => "deleted the person",
        Action::UserInvite => "invited",
        Action::UserSetPassword => "set, by an invitation, the password of",
        Action::UserChangePassword => "changed the password of",
        Action::UserResetPassword => "reset the password of",
        Action::UserSignOut => "signed out",
        Action::SessionRenew => "renewed a sign-in of",
        Action::SessionEnd => "ended sign-ins of",
        Action::PermissionCreate => "added the permission",
        Action::PermissionUpdate => "described anew the permission",
        Action::PermissionDelete => "deleted the permission",
        Action::RoleCreate => "made the role",
        Action::RoleUpdate => "changed the role",
        Action::RoleDelete => "deleted the role",
        Action::RoleAssign => "gave access to",
        Action::RoleUnassign => "took access from",
        Action::TeamCreate => "made the team",
        Action::TeamUpdate => "changed the team",
        Action::TeamDelete => "deleted the team",
        Action::TeamAddMember => "added a member to the team",
        Action::TeamRemoveMember => "removed a member from the team",
        Action::SigningKeyCreate => "made the signing key",
        Action::SigningKeyWithdraw => "withdrew the signing key",
        Action::SigningKeyRetire => "retired the signing key",
        Action::DatabaseRestore => "began a new epoch of the restored database",
    }
}

/// Why something was refused.
pub(super) fn reason(code: &str) -> &str {
    CODES.iter().find(|row| row.0 == code).map_or(code, |row| row.2)
}

/// The program that sent a `User-Agent`, in words: browsers and the system that they run on, else the name and version that it begins with.
pub(super) fn program(user_agent: &str) -> String {
    // The first that is found: most browsers name others, too.
    const BROWSERS: [(&str, &str); 6] =
        [("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chromium/", "Chromium"), ("Chrome/", "Chrome"), ("Version/", "Safari")];
    const SYSTEMS: [(&str, &str); 6] =
        [("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS X", "macOS"), ("Linux", "Linux")];
    let find = |known: &[(&str, &'static str)]| known.iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, name)| *name);
    match (user_agent.starts_with("Mozilla/").then(|| find(&BROWSERS)).flatten(), find(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        _ => user_agent.split_whitespace().next().unwrap_or("unknown program").chars().take(60).collect::<String>().replacen('/', " ", 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_from_what_they_send() {
        let table = [
            ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36", "Chrome on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0",
                "Edge on Windows",
            ),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on macOS"),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 (KHTML, like Gecko) Version/18.0 Mobile Safari/604",
                "Safari on iPhone",
            ),
            ("curl/8.5.0", "curl 8.5.0"),
            ("python-requests/2.32 (x)", "python-requests 2.32"),
            ("", "unknown program"),
            ("Mozilla/5.0", "Mozilla 5.0"),
        ];
        for (user_agent, text) in table {
            assert_eq!(program(user_agent), text);
        }
    }

    #[test]
    fn codes_have_words() {
        assert_eq!((reason("api_key_expired"), reason("something_new")), ("API key expired", "something_new"));
        assert_eq!((action("api_key.rotate"), action("odd.thing")), ("rotated the API key", "odd.thing"));
    }
}
