# syntax=docker/dockerfile:1
# Builds with nothing from the network but the two base images and crates.io.

# Not the slim image: aws-lc and SQLite are C, and this one has a compiler.
FROM rust:1.95-bookworm AS build
WORKDIR /src
# Dependencies first, so that a change of our own code does not build them anew.
COPY Cargo.toml Cargo.lock ./
COPY verifier ./verifier
COPY examples ./examples
COPY benches ./benches
RUN mkdir -p src tests && echo 'fn main() {}' > src/main.rs && touch src/lib.rs && echo 'fn main() {}' > tests/main.rs \
    && cargo build --release --locked && rm -rf src tests
COPY src ./src
COPY migrations ./migrations
COPY config ./config
COPY static ./static
COPY tests ./tests
# The files above have an older date than what was just built of the empty ones.
RUN touch src/main.rs src/lib.rs && cargo build --release --locked && mkdir /data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/hourpass /usr/local/bin/hourpass
COPY --from=build --chown=nonroot:nonroot /data /data
ENV HOURPASS_SERVER__HOST=0.0.0.0 \
    HOURPASS_DATABASE__URL=sqlite:///data/hourpass.db \
    HOURPASS_LOG__FORMAT=json
WORKDIR /
USER nonroot
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s CMD ["/usr/local/bin/hourpass", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/hourpass"]
CMD ["serve"]
