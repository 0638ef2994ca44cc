# The pipeline in a container, and (target `reader`) TensorFlow 1.15 to read its graphs with. See docs/container.md.

# Debian bookworm has no Python 3.7, the newest that TensorFlow 1.15 runs on.
ARG PYTHON37_IMAGE=python:3.7-slim-bookworm

FROM debian:bookworm-slim AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/dnndk_prep
WORKDIR /src
# The requirements first: they stay in the builder's cache while only the package changes. Every file has the hash that
# requirements.lock says, what builds the package included.
COPY requirements.lock ./
RUN /opt/dnndk_prep/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY dnndk_prep dnndk_prep
RUN /opt/dnndk_prep/bin/pip install --no-cache-dir --no-deps --no-build-isolation .


FROM ${PYTHON37_IMAGE} AS reader
RUN python3.7 -m pip install --no-cache-dir "tensorflow==1.15.5" "numpy<1.19" "protobuf<3.21" "h5py<3"
COPY scripts/read_graph.py /opt/read_graph.py
# TensorFlow 1.15 warns about itself on every import.
ENV TF_CPP_MIN_LOG_LEVEL=3 PYTHONWARNINGS=ignore
USER 1000:1000
ENTRYPOINT ["python3.7", "/opt/read_graph.py"]
CMD ["/workspace"]


# The last target is the one that is built without --target. No VOLUME: buildah lays an empty one over what is mounted,
# and docker would leave unnamed volumes behind. The link: pipeline.yaml says `workspace: workspace`.
FROM debian:bookworm-slim AS runtime
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --create-home dnndk \
 && mkdir /app /data /workspace \
 && chown 1000:1000 /workspace \
 && ln -s /workspace /app/workspace
COPY --from=build /opt/dnndk_prep /opt/dnndk_prep
COPY requirements.lock sbom.cdx.json /opt/dnndk_prep/
COPY pipeline.yaml /app/
COPY calib_data /app/calib_data
# Nothing but /workspace and /tmp is written: the root may be read-only. Keras and matplotlib write their settings;
# with `--user` any uid may run this, and /home/dnndk is not its own.
ENV PATH=/opt/dnndk_prep/bin:$PATH KERAS_HOME=/tmp/keras MPLCONFIGDIR=/tmp/matplotlib PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
WORKDIR /app
ENTRYPOINT ["dnndk-prep"]
CMD ["run"]
