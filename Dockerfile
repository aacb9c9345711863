# syntax=docker/dockerfile:1
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p control-plane

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/smart-maintenance --create-home smart \
 && apt-get update && apt-get install --yes --no-install-recommends curl && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/smart-maintenance /usr/local/bin/smart-maintenance
USER smart
VOLUME /var/lib/smart-maintenance
EXPOSE 8000
# The data folder is the volume; a container's port is published by whoever runs it, hence 0.0.0.0 inside. The program
# refuses to speak plain HTTP there until it is told that a proxy speaks TLS in front of it
# (SMART_MAINTENANCE__SERVER__BEHIND_PROXY=true), or is given a certificate (SMART_MAINTENANCE__TLS__CERTIFICATE_FILE
# and …__KEY_FILE); compose.yaml does the first.
ENV SMART_MAINTENANCE__STORE__DATA_DIR=/var/lib/smart-maintenance \
    SMART_MAINTENANCE__SERVER__LISTEN=0.0.0.0:8000
# With a certificate the probe must speak TLS; its name is not checked, because it asks its own machine.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s \
  CMD curl --fail --silent http://127.0.0.1:8000/livez || curl --fail --silent --insecure https://127.0.0.1:8000/livez || exit 1
ENTRYPOINT ["smart-maintenance"]
CMD ["serve"]
