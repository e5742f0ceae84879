# Everything that the workflow needs, without conda: docker build --tag pcc .   (docs/cluster.md)
FROM python:3.11-slim-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/pcc
COPY . /src
# pydensecrf2 is compiled here; the image that is kept has no compiler.
RUN /opt/pcc/bin/pip install --no-cache-dir --constraint /src/constraints.txt /src

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="PCC" org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update && apt-get install --yes --no-install-recommends git libgomp1 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/pcc /opt/pcc
# Any user may run it, and write below the working directory only.
ENV PATH=/opt/pcc/bin:$PATH HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib XDG_CACHE_HOME=/tmp/cache
WORKDIR /work
CMD ["pcc", "--help"]
