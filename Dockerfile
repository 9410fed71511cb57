# Grades assignments: docker build -t d2lcompute . in a copy of the repository, then
# docker run --rm -v "$PWD":/course d2lcompute grade reference.md submissions
# Where the container may make user namespaces (or with --privileged) boxes are those of Linux; else
# `grade` takes landlock and says what that leaves open.
FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends bubblewrap && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN pip install --no-cache-dir -c /source/constraints.txt "/source[grading]" \
    --extra-index-url https://download.pytorch.org/whl/cpu
WORKDIR /course
ENTRYPOINT ["d2lcompute"]
