# syntax=docker/dockerfile:1

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/pombal ./cmd/pombal \
    && mkdir -p /out/data

# Root certificates, a user and /tmp, and nothing else: no shell.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/pombal /usr/local/bin/pombal
# Where SQLite keeps its data when there is no POMBAL_DATABASE_URL.
COPY --from=build --chown=65532:65532 /out/data /data
ENV POMBAL_DATA_DIR=/data
VOLUME /data
USER 65532:65532
EXPOSE 8080
# The process drains its requests on this signal.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --start-interval=1s CMD ["/usr/local/bin/pombal", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/pombal"]
CMD ["serve"]
