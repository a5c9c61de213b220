# syntax=docker/dockerfile:1.7
# Three images (docs/clusters.md): `mlflow`, the server of compose.yaml; `build`, which is thrown away; and, by default, `runtime`:
#
#   docker build -t tracer1:0.6.0 .
#   docker run --gpus all --shm-size 32g -v /data:/data:ro -v outputs:/outputs tracer1:0.6.0 +experiment=stage1_gui ...
#
# The wheels of torch and vLLM bring CUDA's libraries; CUDA's tools are needed only to build DeepSpeed's optimizers.
ARG CUDA=13.0.2
ARG UBUNTU=24.04

# --- the MLflow server -------------------------------------------------------------------------------------------------------
FROM python:3.11-slim-bookworm AS mlflow
COPY constraints.txt /tmp/constraints.txt
RUN pip install --no-cache-dir -c /tmp/constraints.txt mlflow==3.17.2 boto3==1.43.117 psycopg2-binary==2.9.13 \
    && useradd --uid 1000 --create-home mlflow
USER 1000:1000
WORKDIR /home/mlflow
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=6 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5000/health', timeout=4)"]
ENTRYPOINT ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000"]

# --- everything that needs a compiler ----------------------------------------------------------------------------------------
FROM nvidia/cuda:${CUDA}-devel-ubuntu${UBUNTU} AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 python3-dev python3-venv g++ \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /opt/tracer1
COPY pyproject.toml README.md constraints-gpu.txt ./
# Of pyproject.toml's; without vllm there are engine=transformers and servers in other images
ARG EXTRAS=vllm,liger,lora
# What the package needs, without the package: our code may change without this layer being made again
RUN mkdir -p src/tracer1 && touch src/tracer1/__init__.py \
    && pip install -c constraints-gpu.txt 'setuptools>=77' wheel s3fs ".[${EXTRAS}]" \
    && pip uninstall -y tracer1
# Ampere, Ada, Hopper; DeepSpeed would otherwise compile these at their first use, in an image without a compiler
ARG TORCH_CUDA_ARCH_LIST="8.0;8.9;9.0"
ARG DS_BUILD_CPU_ADAM=1
ARG DS_BUILD_FUSED_ADAM=1
RUN pip install --no-build-isolation -c constraints-gpu.txt deepspeed==0.19.8
COPY src src
RUN pip install --no-deps --no-build-isolation -e .

# --- what runs ---------------------------------------------------------------------------------------------------------------
FROM nvidia/cuda:${CUDA}-runtime-ubuntu${UBUNTU} AS runtime
# Named again, or the label below would find them empty
ARG CUDA
ARG UBUNTU
ARG VERSION=0.6.0
ARG REVISION=unknown
# For kernels that are compiled when they are first used: Triton's and FlashInfer's, torch.compile (docs/clusters.md)
ARG EXTRA_PACKAGES=""
LABEL org.opencontainers.image.title="tracer1" \
      org.opencontainers.image.description="GRPO training of multimodal agents that plan several steps ahead" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/nvidia/cuda:${CUDA}-runtime-ubuntu${UBUNTU}"
# hadolint ignore=DL3008,SC2086
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 tini ${EXTRA_PACKAGES} \
    && rm -rf /var/lib/apt/lists/* \
    && { ! id 1000 >/dev/null 2>&1 || userdel --remove "$(id -un 1000)"; } \
    && useradd --uid 1000 --create-home tracer1 \
    && mkdir -p /outputs && chown 1000:1000 /outputs
COPY --from=build /opt/venv /opt/venv
COPY pyproject.toml /opt/tracer1/
COPY src /opt/tracer1/src
COPY conf /opt/tracer1/conf
COPY tools /opt/tracer1/tools
COPY demo /opt/tracer1/demo
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TRACER1_OUTPUTS=/outputs \
    VLLM_USE_FLASHINFER_SAMPLER=0
USER 1000:1000
WORKDIR /home/tracer1
VOLUME ["/outputs"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=60s --timeout=20s --start-period=3600s --retries=3 \
    CMD ["python", "/opt/tracer1/tools/health.py", "/outputs", "--older-than", "3600"]
ENTRYPOINT ["tini", "--", "/opt/tracer1/tools/launch/node.sh"]
CMD ["+experiment=demo_stage1", "+cluster=nodes"]
