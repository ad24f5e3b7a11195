# A search, with everything it can use; a GPU is used where the container is given one.
#
#   docker build -f docs/docker/search.Dockerfile -t hpo .
#   docker run --gpus all --shm-size 8g -v "$PWD:/work" -v hpo-cache:/cache \
#     hpo search --data photos --budget 2h --yes
#
# Runs lie in the mounted folder (`runs/`). What is decoded or split lies in /cache: in a volume with
# a name (`-v hpo-cache:/cache`), so that later containers find it.
# `train.compile` builds its kernels with gcc and g++; `ray[default]` and wget are what jobs and
# probes of KubeRay need (studies/clusters/kuberay.yaml).
FROM python:3.11-slim

RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc g++ libgomp1 git wget \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY hpo hpo
COPY trainer trainer
COPY search_spaces search_spaces
COPY studies studies
RUN pip install --no-cache-dir -c constraints.txt '.[all]' 'ray[default]'
ENV HPO_CACHE_DIR=/cache
VOLUME /cache
WORKDIR /work
ENTRYPOINT ["hpo"]
CMD ["--help"]
