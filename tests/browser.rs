//! What a person does, in a real Chromium.
//!
//! The engine makes no difference to pages, so SQLite is the one; a walk through everything is on both.

mod machinery;
