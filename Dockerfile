# The digest is that of the index of all platforms; Dependabot moves it.
FROM python:3.13-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285 AS python

FROM python AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
# Two environments: tools that build, and /opt/ratesvc without pip, because production installs nothing.
RUN python3 -m venv /opt/tools && python3 -m venv --without-pip /opt/ratesvc
COPY requirements requirements
RUN /opt/tools/bin/pip --python /opt/ratesvc install --no-compile --require-hashes --only-binary :all: -r requirements/production.lock \
 && /opt/tools/bin/pip install --require-hashes --only-binary :all: -r requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY tools tools
COPY docs docs
COPY ratesvc ratesvc
# The commit, for /metrics; git is not here.
ARG REVISION=""
# The locked tools make the wheel, so the build fetches nothing more. The import compiles what the service uses, so that it
# starts in half the time. All modules compiled would be 12 MB more.
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/tools/bin/pip --python /opt/ratesvc install --no-index --no-deps dist/*.whl \
 && /opt/ratesvc/bin/python -c 'import ratesvc.cli, ratesvc.commands.show, ratesvc.commands.serve, ratesvc.installed, ratesvc.features.docs.prose; \
    ratesvc.commands.serve.features.load(ratesvc.installed.FEATURES)'

FROM python
# The release adds version, revision and source, which only it knows.
LABEL org.opencontainers.image.title="ratesvc" \
      org.opencontainers.image.description="The Bank of Russia's exchange rates as a JSON API and an HTML widget" \
      org.opencontainers.image.licenses="MIT AND OFL-1.1 AND Unicode-3.0" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13-slim-trixie"
RUN mkdir -p /var/lib/ratesvc && chown 10001:10001 /var/lib/ratesvc && chmod 700 /var/lib/ratesvc
COPY --from=build /opt/ratesvc /opt/ratesvc
ENV PATH=/opt/ratesvc/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RATESVC_HOST=0.0.0.0 \
    RATESVC_DATA_DIR=/var/lib/ratesvc \
    RATESVC_LOG_FORMAT=json
USER 10001:10001
WORKDIR /var/lib/ratesvc
VOLUME /var/lib/ratesvc
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --start-interval=2s CMD ["ratesvc", "healthcheck"]
ENTRYPOINT ["ratesvc"]
CMD ["serve"]
