# Finds Bun, or installs it from the npm registry by the lock file of images/bun, so that the version and the hash
# are those of the images. Sourced by scripts/bottle, scripts/build, scripts/setup and scripts/test; sets BUN.
# $1: the project's folder.

# shellcheck source=scripts/lib/packages.sh
. "$(dirname "${BASH_SOURCE[0]}")/packages.sh"

bun_is_new_enough() {
  local version major minor
  version=$("$1" --version 2>/dev/null) || return 1
  major=${version%%.*}
  minor=${version#*.}
  minor=${minor%%.*}
  [ "$major" -gt 1 ] 2>/dev/null || { [ "$major" -eq 1 ] && [ "$minor" -ge 4 ]; } 2>/dev/null
}

find_bun() {
  local project=$1 cached
  cached="${XDG_CACHE_HOME:-$HOME/.cache}/bottle/bun"
  for BUN in "$(command -v bun || true)" "$HOME/.bun/bin/bun" "$cached/bun"; do
    if [ -x "$BUN" ] && bun_is_new_enough "$BUN"; then return 0; fi
  done

  if ! command -v npm >/dev/null; then
    echo "bottle: needs Bun 1.4 or newer, and found neither it nor npm to install it with" >&2
    # npm reaches its registry by the roots of ca-certificates, which Debian's only recommends.
    install_packages npm npm ca-certificates || return 1
  fi
  local version
  version=$(sed -n 's/.*"@oven\/bun-linux-x64": "\(.*\)".*/\1/p' "$project/images/bun/package.json")
  echo "bottle: installing Bun $version from the npm registry into $cached" >&2
  mkdir -p "$cached"
  cp "$project/images/bun/package.json" "$project/images/bun/package-lock.json" "$cached/"
  (cd "$cached" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2 &&
    ln -sf node_modules/@oven/bun-*/bin/bun bun) || {
    echo "bottle: npm could not install Bun; its message is above" >&2
    return 1
  }
  BUN=$cached/bun
  bun_is_new_enough "$BUN" || {
    echo "bottle: the Bun that npm installed does not run on this machine" >&2
    return 1
  }
}

# Installs the locked dependencies when they are missing or belong to another lock file.
install_dependencies() {
  local project=$1
  if cmp -s "$project/bun.lock" "$project/node_modules/.bottle-lock"; then return 0; fi
  echo "bottle: installing the locked dependencies" >&2
  (cd "$project" && "$BUN" install --frozen-lockfile >&2) || {
    echo "bottle: the dependencies could not be installed; the message is above" >&2
    return 1
  }
  cp "$project/bun.lock" "$project/node_modules/.bottle-lock"
}
