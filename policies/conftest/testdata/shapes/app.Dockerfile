# syntax=docker/dockerfile:1
# builds the thing
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG VERSION=dev
ENV A=1 B="two words"
# compile it
RUN --mount=type=cache,target=/root/.cache go build \
    -o /app ./...
COPY --chown=1:1 . .
FROM scratch
COPY --from=build /app /app
ONBUILD RUN echo hi
HEALTHCHECK CMD ["/app", "check"]
EXPOSE 80 443/udp
LABEL a=b c="d e"
USER 65532
ENTRYPOINT ["/app", "-v"]
