FROM python:3.13-slim-trixie AS build
WORKDIR /build
COPY requirements.lock .
RUN python3 -m venv /opt/ratesvc \
 && /opt/ratesvc/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY ratesvc ratesvc
RUN /opt/ratesvc/bin/pip install --no-cache-dir --no-deps . \
 && /opt/ratesvc/bin/pip uninstall --yes pip

FROM python:3.13-slim-trixie
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
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["ratesvc", "healthcheck"]
ENTRYPOINT ["ratesvc"]
CMD ["serve"]
