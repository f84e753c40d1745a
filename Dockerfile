# The package in a container, for Debian 12 or newer and Ubuntu 22.04 or newer.
#
#   docker build -t mtml_tf .
#   docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" mtml_tf mtml_tf.predict --model=rooms --scan=examples/room.ply --output_dir=/data/room
#
# With a GPU (its driver and NVIDIA's container toolkit on the host; CUDA comes from pip):
#
#   docker build -t mtml_tf:gpu --build-arg TENSORFLOW="tensorflow[and-cuda]==2.15.*" .
#   (2.21.0 where the base brings Python 3.12 or newer, as Debian 13 and Ubuntu 24.04 do)
#   docker run --rm --gpus all ... mtml_tf:gpu ...
ARG BASE=debian:12-slim
FROM ${BASE}

RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        python3 python3-venv libusb-1.0-0 libgl1 libegl1 libx11-6 \
    && rm -rf /var/lib/apt/lists/*

RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
# What the container toolkit hands in: the driver's compute library and nvidia-smi.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

RUN useradd --create-home mtml
WORKDIR /opt/mtml_tf
RUN chown mtml /opt/mtml_tf

# The packages first: they stay as they are when only the code changes.
ARG TENSORFLOW=
COPY requirements.txt constraints.txt ./
RUN pip install --no-cache-dir -r requirements.txt ${TENSORFLOW:+"$TENSORFLOW"} -c constraints.txt

COPY setup.cfg pyproject.toml requirements-dev.txt README.md LICENSE ./
COPY mtml_tf mtml_tf
COPY experiments experiments
COPY tools tools
COPY examples examples
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e .

USER mtml
ENTRYPOINT ["python", "-m"]
CMD ["mtml_tf.predict", "--help"]
