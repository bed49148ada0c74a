# The command line in a container, on the CPU. For CUDA, --build-arg BASE= an image with Python and a torch for its driver.
#   docker build --tag monai_smia .
#   docker run --rm --volume "$PWD:/data" monai_smia bundle ct_lung_segmentation lungs
ARG BASE=python:3.11-slim
FROM ${BASE}

WORKDIR /opt/monai_smia
COPY requirements.lock constraints.txt setup.py pyproject.toml MANIFEST.in README.md LICENSE ./
RUN pip install --no-cache-dir --require-hashes --no-deps --requirement requirements.lock \
    && pip install --no-cache-dir --constraint constraints.txt torch
COPY bundles bundles
COPY monai_smia monai_smia
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

RUN useradd --create-home user
USER user
WORKDIR /data
ENTRYPOINT ["python", "-m", "monai_smia"]
CMD ["--help"]
