# One image for every role: `serve` (the default), `simulate`, `demo --traffic URL`, and the `gateway` command.
#
# It runs as user 10001 and writes to /data alone, so the root filesystem may be read-only. The secrets come from the
# environment at run time; none is needed to build. docs/deploy.md says how to run it.

FROM python:3.11.15-slim-bookworm AS build

ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir --disable-pip-version-check uv==0.13.8
WORKDIR /app

# The dependencies change less often than the program.
COPY pyproject.toml uv.lock LICENSE ./
RUN uv sync --frozen --no-dev --no-install-project --no-cache

COPY gateway ./gateway
RUN uv sync --frozen --no-dev --no-cache
COPY config ./config
# Whatever the builder's umask was, everybody may read it; and nothing is compiled at run time.
RUN python -m compileall -q gateway && chmod -R a+rX /app


FROM python:3.11.15-slim-bookworm

RUN install -d -o 10001 -g 10001 -m 0700 /data
COPY --from=build /app /app
WORKDIR /app

ENV PATH=/app/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    GATEWAY_CONFIG=/app/config/gateway.yaml \
    GATEWAY_HOST=0.0.0.0 \
    GATEWAY_PORT=8080 \
    GATEWAY_DATA_DIR=/data \
    GATEWAY_STORE_URL=sqlite:////data/gateway.db \
    GATEWAY_DRAIN_GRACE_S=10

USER 10001:10001
VOLUME /data
EXPOSE 8080

# Alive, not ready: a gateway that drains must not be restarted.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['GATEWAY_PORT']), timeout=3); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]

# Exec form: SIGTERM reaches the gateway itself, which then drains.
ENTRYPOINT ["gateway"]
CMD ["serve"]
