# The sidecar as a container image. Docker 23 or later, Podman or Buildah; `make image` fills the labels in.
#
# It listens on loopback inside the container, on 18080 (apps) and 19090 (health, metrics), as it does everywhere: so it
# shares the network of the app that it serves, as a pod's containers do and Compose's `network_mode: "service:app"`
# makes it. Nothing is exposed on purpose; docs/deploy.md says what publishing a port takes.

# Pinned by its digest, both stages alike. Any image with CPython 3.11 or later, venv and pip will do.
ARG BASE_IMAGE=docker.io/library/python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ${BASE_IMAGE} AS build
# A mirror of PyPI, if need be: what it gives has to match the hashes.
ARG PIP_INDEX_URL
# 1: the modules that each call runs are native code; 0: all is Python, and no compiler is needed.
ARG COMPILE=0
# Of the base image's Debian; not installed where there is a gcc. Nothing of it is in the image that is made.
ARG COMPILER="gcc=4:14.* libc6-dev=2.41-*"
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# First what seldom changes: these layers are kept while only the sidecar's own source does.
# hadolint ignore=DL3008,SC2086
RUN if [ "$COMPILE" = 1 ] && ! command -v gcc; then \
      apt-get update && apt-get install --yes --no-install-recommends $COMPILER && rm -rf /var/lib/apt/lists/*; \
    fi
COPY requirements/build.txt requirements/compile.txt requirements/run.txt requirements/otel.txt requirements/
RUN python3 -m venv tools \
 && tools/bin/pip install --only-binary :all: --require-hashes \
    -r "requirements/$(if [ "$COMPILE" = 1 ]; then echo compile; else echo build; fi).txt" \
 && python3 -m venv --without-pip /opt/mangopay-sidecar \
 && tools/bin/pip --python /opt/mangopay-sidecar/bin/python install \
    --no-compile --only-binary :all: --require-hashes -r requirements/run.txt -r requirements/otel.txt
COPY LICENSE README.md pyproject.toml setup.py mangopay_sidecar.py mangopay_sidecar_pytest.py ./
COPY compiling compiling
COPY sidecar sidecar
# Bytecode is made here, since nothing can be written later; "unchecked" means that no source file is looked at.
RUN SIDECAR_COMPILE="$COMPILE" tools/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir dist . \
 && tools/bin/pip --python /opt/mangopay-sidecar/bin/python install --no-compile --no-index --no-deps dist/*.whl \
 && /opt/mangopay-sidecar/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/mangopay-sidecar/lib

FROM ${BASE_IMAGE}
# Python's official images come without bytecode: every start, and every health check, would compile the library anew.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash \
    -x '/(test|tests|idlelib|lib2to3|turtledemo|ensurepip|(site|dist)-packages)/' \
    "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/mangopay-sidecar /opt/mangopay-sidecar
COPY deploy/container/healthcheck.py /opt/mangopay-sidecar/libexec/healthcheck.py
ENV PATH=/opt/mangopay-sidecar/bin:$PATH PYTHONDONTWRITEBYTECODE=1
WORKDIR /
# Nobody's number, and no name: Kubernetes' runAsNonRoot takes numbers only.
USER 65532:65532
STOPSIGNAL SIGTERM
# Kubernetes ignores this and has probes of its own.
HEALTHCHECK --interval=10s --timeout=2s --start-period=10s --retries=3 \
  CMD ["/opt/mangopay-sidecar/bin/python", "-I", "-S", "/opt/mangopay-sidecar/libexec/healthcheck.py"]
ENTRYPOINT ["/opt/mangopay-sidecar/bin/mangopay-sidecar"]
CMD ["run"]
# Last, since the date changes with each build.
ARG VERSION=0.1.0
ARG REVISION=
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=
ARG LICENSES=MIT
LABEL org.opencontainers.image.title="mangopay-sidecar" \
      org.opencontainers.image.description="Authenticating reverse-proxy sidecar for the Mangopay API" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="${LICENSES}"
