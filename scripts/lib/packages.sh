# Installs what is missing from Debian's packages, where that can be done without asking anybody, and says so first;
# elsewhere it says what to run. Sourced by scripts/lib/bun.sh and scripts/bottle.

# What for, then packages. Fails after it has said why and what to do.
install_packages() {
  local what=$1 as=() uid
  shift
  if ! command -v apt-get >/dev/null; then
    echo "bottle: $what is missing, and this is no Debian" >&2
    echo "next: install $what, then run this again (Debian: apt-get install $*)" >&2
    return 1
  fi
  uid=$(id -u)
  if [ "$uid" != 0 ]; then
    # sudo may ask for a password where somebody can type it, and nowhere else.
    if ! command -v sudo >/dev/null || { ! sudo -n true 2>/dev/null && ! [ -t 0 ]; }; then
      echo "bottle: $what is missing, and installing it needs root" >&2
      echo "next: as root, run: apt-get update && apt-get install --no-install-recommends $*" >&2
      return 1
    fi
    as=(sudo)
  fi
  echo "bottle: installing $what with apt-get${as[0]:+, through sudo}: $*" >&2
  # A list that is out of date names files that are gone; one source that fails need not hold what we want.
  ${as[@]+"${as[@]}"} apt-get update -qq >&2 || true
  ${as[@]+"${as[@]}"} env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null || {
    echo "bottle: apt-get could not install $what; its message is above" >&2
    return 1
  }
}
