# One image for all our processes; the command names the role. The second stage has no build tools and no root.
FROM python:3.11.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes -r requirements/build.txt \
    && python -m venv /opt/sinsok \
    && /opt/sinsok/bin/pip install --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY gateways gateways
COPY streams streams
COPY sinsok sinsok
RUN /opt/build/bin/hatchling build -t wheel \
    && /opt/sinsok/bin/pip install --no-deps --no-index dist/*.whl

FROM python:3.11.11-slim-bookworm
# For the Korean words in key images.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends fonts-nanum \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin sinsok \
    && install -d -o sinsok -g sinsok -m 0750 /var/lib/sinsok
COPY --from=build /opt/sinsok /opt/sinsok
COPY sinsok.toml /etc/sinsok/sinsok.toml
COPY triton_models /etc/sinsok/triton_models
# PYTHONSAFEPATH: schemas, gateways and streams are generic names; nothing in a working directory may take their place.
ENV PATH=/opt/sinsok/bin:$PATH \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    SINSOK_CONFIG=/etc/sinsok/sinsok.toml \
    SINSOK_HOME=/var/lib/sinsok
VOLUME /var/lib/sinsok
WORKDIR /var/lib/sinsok
USER sinsok
ENTRYPOINT ["sinsok"]
