# One image, many roles: `freshet run ROLE`. Built from a clone; nothing is fetched but crates and Debian packages.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends build-essential pkg-config libssl-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package freshet && strip target/release/freshet

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends libssl3 ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 65532 --user-group --no-create-home --shell /usr/sbin/nologin freshet
COPY --from=build /src/target/release/freshet /usr/local/bin/freshet
USER 65532:65532
EXPOSE 9464
ENTRYPOINT ["/usr/local/bin/freshet"]
