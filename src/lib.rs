//! Hourpass: an identity service for machines.
//!
//! A *service account*'s long-lived API key is exchanged for a signed token that lives an hour; *resource services* check that token offline.
//!
//! | module | what it is for | may use |
//! |---|---|---|
//! | [`cli`] | arguments and commands | `app` and below |
//! | [`app`] | puts everything together: the only wiring | all below |
//! | [`http`] | routes, bodies, errors | `service`, `domain` |
//! | [`service`] | use cases | `store`, `keys`, `domain` |
//! | [`store`] | the database; the only user of sqlx | `domain` |
//! | [`keys`] | signing keys and tokens; the only user of jsonwebtoken | `domain` |
//! | [`config`] | settings | `domain` |
//! | [`domain`] | words and rules; no IO, no clock | nothing |

pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod keys;
pub mod service;
pub mod store;
