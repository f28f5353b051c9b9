# Base images for tests. Users' images are built on the digests that the Dockerfiles name; where no image registry can
# be reached, stand-ins of the same shape are made from Debian packages and take their places through the same ARGs.
# Sourced by scripts/setup; writes dist/test-env for scripts/test.

# npm as the official Node image has it: from its own package, not Debian's with its 400 dependencies.
npm_version=10.9.9

digest_of() { sed -n "s/^ARG $2=//p" "$1" | head -n 1; }

registry_answers() { timeout 60 docker pull -q "$1" >/dev/null 2>&1; }

# name, suite, further mmdebstrap options
make_base() {
  local name=$1 suite=$2 uri
  shift 2
  if docker image inspect "$name" >/dev/null 2>&1; then return 0; fi
  uri=$(mirror "$suite")
  [ -n "$uri" ] || uri=$(mirror bookworm)
  [ -n "$uri" ] || uri=$(mirror trixie)
  [ -n "$uri" ] || die "no Debian mirror among this machine's package sources" "add one to /etc/apt/sources.list.d"
  say "no image registry answers: building the base $name from Debian packages ($suite)"
  mmdebstrap --quiet --variant=minbase --components=main \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$@" "$suite" "$bases_work/root.tar" "$uri"
  # Imported only when whole: a pipe would leave a broken image behind a failed build.
  docker import --change 'CMD ["bash"]' \
    --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    "$bases_work/root.tar" "$name" >/dev/null
  rm "$bases_work/root.tar"
}

make_node_base() {
  local name=$1 suite=$2
  if docker image inspect "$name" >/dev/null 2>&1; then return 0; fi
  echo '{}' >"$bases_work/package.json"
  (cd "$bases_work" && "$BUN" add --exact --silent "npm@$npm_version") ||
    die "npm@$npm_version could not be fetched" "see the message above"
  tar -cf "$bases_work/npm.tar" --owner=0 --group=0 -C "$bases_work/node_modules/npm" .
  # Like the official image: node and npm, no certificates, and a user `node` with uid 1000.
  make_base "$name" "$suite" --include=nodejs \
    --customize-hook='mkdir -p "$1/usr/local/lib/node_modules/npm"' \
    --customize-hook="tar -xf $bases_work/npm.tar -C \"\$1/usr/local/lib/node_modules/npm\"" \
    --customize-hook='ln -s ../lib/node_modules/npm/bin/npm-cli.js "$1/usr/local/bin/npm"' \
    --customize-hook='chmod 0755 "$1/usr/local/lib/node_modules/npm/bin/npm-cli.js"' \
    --customize-hook='chroot "$1" groupadd --gid 1000 node' \
    --customize-hook='chroot "$1" useradd --uid 1000 --gid node --shell /bin/bash --create-home node'
}

make_bases() {
  local project=$1 node debian recipe
  mkdir -p "$project/dist"
  node=$(digest_of "$project/images/gateway/Dockerfile" BASE_NODE)
  debian=$(digest_of "$project/images/gateway/Dockerfile" BASE_DEBIAN)
  case "${BOTTLE_TEST_BASES:-auto}" in
    registry) ;;
    local)
      node=
      ;;
    auto)
      # Once built they are used again: asking a registry that is not there can cost a minute each time.
      if docker image inspect "$node" "$debian" >/dev/null 2>&1; then :
      elif [ -n "$(docker images -q bottle-test-node)" ] || ! registry_answers "$debian"; then
        node=
      fi
      ;;
    *) die "BOTTLE_TEST_BASES is $BOTTLE_TEST_BASES" "set it to auto, local or registry" ;;
  esac

  if [ -z "$node" ]; then
    # The recipe is this file: a change of it makes new bases.
    recipe=$(sha256sum "$project/scripts/lib/bases.sh" | cut -c 1-12)
    node=bottle-test-node:$recipe
    debian=bottle-test-debian:$recipe
    bases_work=$(mktemp -d)
    trap 'rm -rf "$bases_work"' EXIT
    make_base "$debian" trixie
    make_node_base "$node" bookworm
  fi

  {
    echo "export BOTTLE_BASE_NODE='$node'"
    echo "export BOTTLE_BASE_DEBIAN='$debian'"
    # Downloads during a build pass the same proxies as this machine's.
    echo "export BOTTLE_EXTRA_CA_CERTS='${BOTTLE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt}'"
  } >"$project/dist/test-env"
}
