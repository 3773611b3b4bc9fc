# A container that measures on the CPU: docker build -t one-network . && docker run one-network
# Its arguments are those of run_all.py; docs/cluster.md says how many of them make one run.
FROM python:3.11-slim
# PyTorch's compiler needs one for C++, and a bundle names the commit that git knows.
RUN apt-get update && apt-get install -y --no-install-recommends g++ git && rm -rf /var/lib/apt/lists/*
WORKDIR /benchmark
COPY . .
RUN pip install --no-cache-dir --quiet --constraint constraints.txt '.[all]'
ENV XDG_CACHE_HOME=/tmp/cache
ENTRYPOINT ["python", "run_all.py"]
