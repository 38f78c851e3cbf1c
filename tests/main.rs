//! Behaviour of a real server, on both engines. One binary: see `support` for how a test gets its server.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(
    unreachable_pub,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::new_without_default,
    clippy::allow_attributes,
    clippy::disallowed_types,
    reason = "this crate has no users, and makes databases by name"
)]

mod support;

mod accounts;
mod api_keys;
mod attacks;
mod audit;
mod bad_input;
mod browser;
mod command_line;
mod connections;
mod dashboard;
mod durability;
mod enforcement;
mod escalation;
mod events;
mod exchange;
mod exchange_limit;
mod explain;
mod failover;
mod first_start;
mod idempotency;
mod interop;
mod isolation;
mod last_use;
mod leaks;
mod left_behind;
mod limits;
mod management;
mod me;
mod metadata;
mod misplaced_keys;
mod model;
mod openapi;
mod organizations;
mod outage;
mod outcomes;
mod people;
mod pooler;
mod propagation;
mod publish_before_use;
mod races;
mod readiness;
mod restore;
mod roles;
mod running;
mod schema;
mod seeds;
mod sessions;
mod signing_keys;
mod status;
mod store;
mod teams;
mod workspace;
mod wrong_place;
