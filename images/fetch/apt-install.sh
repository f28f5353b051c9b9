#!/bin/sh
# Installs Debian packages and leaves nothing of the package manager's own behind.
set -eu
install() { DEBIAN_FRONTEND=noninteractive apt-get "$@"; }
# A mirror that is only reachable over https needs roots before ca-certificates can be installed.
if [ -s /run/secrets/extra_ca ]; then
  install() { DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::https::CAInfo=/run/secrets/extra_ca "$@"; }
fi
install update -qq
install install -y -qq --no-install-recommends "$@"
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log
