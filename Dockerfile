# syntax=docker/dockerfile:1
# Four images of one code: `producer` enqueues and reads results, `api` serves HTTP and sends webhooks, `cpu`
# and `gpu` work on a queue each.
#   docker build --target producer -t tryon-producer .
# The gpu image has PyTorch with CUDA and also runs without a graphics card.

FROM python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7 AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PATH=/opt/venv/bin:$PATH \
    TRYON_DATA_DIR=/opt/tryon \
    YOLO_OFFLINE=true \
    YOLO_AUTOINSTALL=false \
    YOLO_CONFIG_DIR=/tmp/ultralytics
RUN useradd --uid 10001 --create-home tryon
WORKDIR /home/tryon

FROM base AS builder
RUN pip install --no-cache-dir uv==0.13.9 setuptools==84.2.1
RUN uv venv --quiet /opt/venv
WORKDIR /build
ENV UV_LINK_MODE=copy

# The project itself, as a wheel: its tests, tools and documents stay outside.
FROM builder AS wheel
COPY pyproject.toml README.md LICENSE ./
COPY config config
COPY db db
COPY worker worker
COPY tasks tasks
RUN /usr/local/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels .

FROM builder AS producer-packages
COPY requirements-producer.lock .
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip sync --quiet --python /opt/venv/bin/python --require-hashes requirements-producer.lock
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    uv pip install --quiet --python /opt/venv/bin/python --no-deps /wheels/*.whl

FROM builder AS api-packages
COPY requirements-api.lock .
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip sync --quiet --python /opt/venv/bin/python --require-hashes requirements-api.lock
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    uv pip install --quiet --python /opt/venv/bin/python --no-deps /wheels/*.whl

FROM builder AS cpu-packages
COPY requirements-cpu.lock .
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip sync --quiet --python /opt/venv/bin/python --require-hashes requirements-cpu.lock
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    uv pip install --quiet --python /opt/venv/bin/python --no-deps /wheels/*.whl

FROM builder AS gpu-packages
COPY requirements-gpu.lock .
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip sync --quiet --python /opt/venv/bin/python --require-hashes requirements-gpu.lock
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    uv pip install --quiet --python /opt/venv/bin/python --no-deps /wheels/*.whl

# The model files, fetched and checked once for both kinds of worker.
FROM cpu-packages AS models
RUN tryon weights fetch

FROM base AS producer
COPY --from=producer-packages /opt/venv /opt/venv
USER 10001
CMD ["tryon", "--help"]

FROM base AS api
COPY --from=api-packages /opt/venv /opt/venv
USER 10001
CMD ["tryon", "serve", "--host", "0.0.0.0"]

FROM base AS cpu
COPY --from=cpu-packages /opt/venv /opt/venv
COPY --from=models /opt/tryon/models /opt/tryon/models
USER 10001
CMD ["celery", "-A", "worker.app", "worker", "-Q", "cpu", "-n", "cpu@%h", "--loglevel", "INFO"]

FROM base AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=gpu-packages /opt/venv /opt/venv
COPY --from=models /opt/tryon/models /opt/tryon/models
# A volume that is mounted here takes over the owner.
RUN mkdir -p /opt/tryon/models/compiled && chown 10001 /opt/tryon/models/compiled
USER 10001
CMD ["celery", "-A", "worker.app", "worker", "-Q", "gpu", "-n", "gpu@%h", "--loglevel", "INFO"]
