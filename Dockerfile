# The lossd server and lossctl on Debian 12. The base may be replaced by any root of Debian 12 or 13:
#   docker build -t lossd .
#   buildah bud --build-arg BASE=localhost/debian:12 -t lossd .
ARG BASE=docker.io/library/debian:12-slim

FROM ${BASE} AS build
RUN apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
      --no-install-recommends g++ cmake ninja-build pkg-config libgrpc++-dev libprotobuf-dev \
      protobuf-compiler protobuf-compiler-grpc libabsl-dev libhwy-dev libspdlog-dev libcli11-dev \
      nlohmann-json3-dev libzip-dev libjemalloc-dev > /dev/null
WORKDIR /src
COPY CMakeLists.txt CMakePresets.json version.txt ./
COPY cmake cmake
COPY third_party third_party
COPY proto proto
COPY core core
COPY server server
COPY client client
RUN cmake --preset release -DLOSSD_TESTS=OFF > /dev/null \
 && cmake --build --preset release --target lossd lossctl \
 && strip build/release/bin/lossd build/release/bin/lossctl
# The packages of the shared libraries, whose names differ between releases.
RUN ldd build/release/bin/lossd build/release/bin/lossctl \
  | sed -n 's|^[[:space:]]*\([^ ]*\) => .*|*-linux-gnu/\1|p' | sort -u | xargs dpkg -S \
  | sed 's/:.*//' | sort -u > build/libraries

FROM ${BASE}
COPY --from=build /src/build/libraries /tmp/libraries
RUN apt-get -qq update && DEBIAN_FRONTEND=noninteractive xargs -a /tmp/libraries \
      apt-get -qq install -y --no-install-recommends > /dev/null \
 && rm -rf /var/lib/apt/lists/* /tmp/libraries
COPY --from=build /src/build/release/bin/lossd /src/build/release/bin/lossctl /usr/local/bin/
RUN lossd --version > /dev/null && lossctl --version > /dev/null
# A number, so that orchestrators can tell that it is not root.
USER 65532:65532
EXPOSE 50051
# Inside a container loopback reaches nobody: all interfaces, behind the container's network.
ENV LOSSD_LISTEN=0.0.0.0:50051
HEALTHCHECK --interval=10s --timeout=6s --start-period=2s CMD ["lossctl", "--server", "127.0.0.1:50051", "health"]
ENTRYPOINT ["lossd"]
