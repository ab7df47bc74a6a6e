# One image with the three binaries: stackstream, collector, normalizer. Nothing else is in it but the certificates of
# public authorities and a wget for health checks; it runs as a user without rights and writes nothing.
FROM golang:1.26.8-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /out/ ./cmd/...

FROM busybox:1.37.0-musl AS busybox

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=busybox /bin/busybox /bin/wget
COPY --from=build /out/ /usr/local/bin/
ENV PATH=/usr/local/bin:/bin
USER 65532:65532
EXPOSE 8321
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["/bin/wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8321/healthz"]
CMD ["stackstream", "--help"]
