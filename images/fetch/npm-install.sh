#!/bin/sh
# Installs what the lock file in the current folder names. Install scripts stay off: the packages that we take hold
# the programs themselves, and npm checks each against the hash in the lock.
set -eu
# The secret is there when the host names extra roots in BOTTLE_EXTRA_CA_CERTS.
if [ -s /run/secrets/extra_ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/extra_ca; fi
exec npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error --cache /tmp/npm
