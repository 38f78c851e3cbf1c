//! What a form for a change showed, what was entered into it, and what is stored by then. Only what the visitor changed is put into the change, so that a form
//! which was open for a while brings nothing back that somebody else changed meanwhile.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::body::Form;
use super::super::error::ApiError;
use super::mistakes::Mistakes;

/// A field of boxes: its text is the values that are checked, a line each.
pub(super) const BOXES: &str = "permissions";

/// Fields that are replaced as a whole, so that two changes of them at once would undo each other.
const SETS: [&str; 3] = [BOXES, "labels", "claims"];

/// The name and the text of a field, as it is shown.
pub(super) type Text = (&'static str, String);

/// A form for a change.
pub(super) struct Edit {
    fields: Vec<Field>,
    /// What the visitor and somebody else have changed at once.
    conflicts: Vec<&'static str>,
}

struct Field {
    name: &'static str,
    /// What is stored.
    now: String,
    /// The mark of what was shown.
    shown: String,
    /// What was entered, where that is a change.
    entered: Option<String>,
}

impl Edit {
    /// A form that is shown for the first time.
    pub(super) fn of(stored: Vec<Text>) -> Self {
        let field = |(name, now): Text| Field { name, shown: mark(&now), now, entered: None };
        Self { fields: stored.into_iter().map(field).collect(), conflicts: Vec::new() }
    }

    /// A form that was sent. What it does not have stays as it is; where it does not say what it showed, it showed what is stored now.
    pub(super) fn read(form: &mut Form, stored: Vec<Text>) -> Result<Self, ApiError> {
        let marks = form.take("shown")?;
        let mut edit = Self::of(stored);
        for field in &mut edit.fields {
            // A box that is not checked is not sent.
            let sent = if field.name == BOXES {
                let checked = form.take_all(BOXES);
                (marks.is_some() || !checked.is_empty()).then(|| lines(checked))
            } else {
                let there = form.get(field.name).is_some();
                form.take(field.name)?.or_else(|| there.then(String::new))
            };
            let named = |text: &str| text.split(' ').find_map(|pair| Some(pair.strip_prefix(field.name)?.strip_prefix('.')?.to_owned()));
            let stored = mark(&field.now);
            let shown = marks.as_deref().and_then(named).unwrap_or_else(|| stored.clone());
            field.entered = sent.filter(|text| ![&shown, &stored].contains(&&mark(text)));
            if field.entered.is_some() && shown != stored && SETS.contains(&field.name) {
                field.entered = None;
                edit.conflicts.push(field.name);
            } else if field.entered.is_some() {
                field.shown = shown;
            }
        }
        Ok(edit)
    }

    /// What the hidden field `shown` says: the name and the mark of each field.
    pub(super) fn shown(&self) -> String {
        self.fields.iter().map(|field| format!("{}.{}", field.name, field.shown)).collect::<Vec<_>>().join(" ")
    }

    /// The text of a field, to be shown.
    pub(super) fn text(&self, name: &str) -> String {
        let field = self.fields.iter().find(|field| field.name == name);
        field.map(|field| field.entered.as_ref().unwrap_or(&field.now).clone()).unwrap_or_default()
    }

    /// What the visitor entered in place of what was shown; nothing where they left it.
    pub(super) fn changed(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|field| field.name == name)?.entered.as_deref()
    }

    /// What has to be looked at again before anything is done: it is shown as it is stored now.
    pub(super) fn conflict(&self) -> Option<Mistakes> {
        (!self.conflicts.is_empty()).then(|| Mistakes::conflict(&self.conflicts))
    }
}

/// The text of a field of boxes.
pub(super) fn lines(mut values: Vec<String>) -> String {
    values.sort_unstable();
    values.join("\n")
}

/// It tells one text from another. Browsers make other ends of lines of those that they are sent.
fn mark(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.trim().as_bytes())).chars().take(16).collect()
}
