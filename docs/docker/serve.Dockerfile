# A server that labels pictures by one finished run, on processors alone.
#
#   docker build -f docs/docker/serve.Dockerfile -t hpo-serve .
#   docker run -p 127.0.0.1:8000:8000 -v "$PWD/runs:/runs" -e HPO_SERVE_TOKEN=... hpo-serve retail
#
# The volume is written to: changes of the gallery belong to the run. Within the container the server
# listens on all addresses; who reaches it is for `-p` to say.
FROM python:3.11-slim

RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY hpo hpo
COPY trainer trainer
COPY search_spaces search_spaces
COPY studies studies
RUN pip install --no-cache-dir -c constraints.txt '.[search]' onnxruntime pillow fsspec numpy
WORKDIR /
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["hpo", "serve", "--out", "/runs", "--host", "0.0.0.0", "--port", "8000", "--yes-expose"]
