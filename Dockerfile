# Builds mailproxy into an image that has nothing else in it:
#
#   docker build -t mailproxy .
#   docker run -v /etc/mailproxy:/etc/mailproxy:ro -v mailproxy:/var/lib/mailproxy -p 587:587 -p 993:993 mailproxy
#
# Both folders have to belong to the user 65532.

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/mailproxy ./cmd/mailproxy \
 && mkdir -p /out/tmp /out/state && chmod 1777 /out/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/mailproxy /mailproxy
COPY --from=build --chown=65532:65532 /out/tmp /tmp
COPY --from=build --chown=65532:65532 /out/state /var/lib/mailproxy
USER 65532:65532
VOLUME /var/lib/mailproxy
STOPSIGNAL SIGTERM
ENTRYPOINT ["/mailproxy"]
CMD ["run", "--config", "/etc/mailproxy/mailproxy.toml"]
