#!/bin/sh
# Runs once while the inner layer is built, as root, in an image that may be the user's own. Plain text tools
# alone: a slim base need not have useradd.
set -eu

fail() {
  echo "bottle: $1" >&2
  exit 1
}

/opt/bottle/bun --version >/dev/null 2>&1 || {
  for loader in /lib/ld-musl-*; do
    [ -e "$loader" ] && fail "this base image is built on musl (Alpine and kin); use one with glibc, such as Debian, Ubuntu or Fedora"
  done
  fail "this base image cannot run Bun; use one with glibc 2.17 or newer, such as Debian, Ubuntu or Fedora"
}

# The user: uid and gid 1000 are called `agent` and live in /home/agent, whatever the base called them.
name_of() { awk -F: -v id="$2" '$3 == id { print $1; exit }' "$1"; }
id_of() { awk -F: -v name="$2" '$1 == name { print $3; exit }' "$1"; }
command -v awk >/dev/null 2>&1 || fail "this base image has no awk; install gawk or mawk in your Dockerfile"
command -v sed >/dev/null 2>&1 || fail "this base image has no sed; install it in your Dockerfile"

for file in /etc/passwd /etc/group; do
  [ -e "$file" ] || : >"$file"
  id=$(id_of "$file" agent)
  case "$id" in
    "" | 1000) ;;
    *) fail "$file gives the name agent to id $id; bottle needs it to be 1000, or free" ;;
  esac
done

# A login shell that is not there would break every program that reads it.
shell=/bin/sh
if [ -x /bin/bash ]; then shell=/bin/bash; fi

old=$(name_of /etc/passwd 1000)
old_home=
if [ -n "$old" ]; then
  old_home=$(awk -F: '$3 == 1000 { print $6; exit }' /etc/passwd)
  awk -F: -v OFS=: '$3 == 1000 && !seen++ { $1 = "agent"; $4 = 1000; $6 = "/home/agent" } { print }' /etc/passwd >/etc/passwd.bottle
  cat /etc/passwd.bottle >/etc/passwd
  rm /etc/passwd.bottle
  if [ -e /etc/shadow ]; then sed -i "s/^$old:/agent:/" /etc/shadow; fi
else
  echo "agent:x:1000:1000::/home/agent:$shell" >>/etc/passwd
  if [ -e /etc/shadow ]; then echo 'agent:!:19000:0:99999:7:::' >>/etc/shadow; fi
fi

old_group=$(name_of /etc/group 1000)
if [ -n "$old_group" ]; then
  awk -F: -v OFS=: '$3 == 1000 && !seen++ { $1 = "agent" } { print }' /etc/group >/etc/group.bottle
  cat /etc/group.bottle >/etc/group
  rm /etc/group.bottle
  if [ -e /etc/gshadow ]; then sed -i "s/^$old_group:/agent:/" /etc/gshadow; fi
else
  echo 'agent:x:1000:' >>/etc/group
  if [ -e /etc/gshadow ]; then echo 'agent:!::' >>/etc/gshadow; fi
fi

# What the base put into its user's home moves along, and the old path still leads there.
mkdir -p /home
if [ -n "$old_home" ] && [ "$old_home" != /home/agent ] && [ -d "$old_home" ] && [ "$old_home" != / ] && [ ! -e /home/agent ]; then
  mv "$old_home" /home/agent
  ln -s /home/agent "$old_home"
fi
mkdir -p /home/agent /workspace
chown -R 1000:1000 /home/agent
chown 1000:1000 /workspace
chmod 0755 /home/agent /workspace

# Certificates: programs that read the system's bundle find the bottle's, which the gateway writes at start.
bundle=/run/bottle/sock/init/ca-bundle.pem
: >/opt/bottle/system-roots.pem
for roots in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem; do
  if [ -s "$roots" ]; then
    cat "$roots" >/opt/bottle/system-roots.pem
    break
  fi
done
for roots in /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem; do
  if [ -e "$roots" ]; then ln -sf "$bundle" "$roots"; fi
done
mkdir -p /etc/ssl/certs
ln -sf "$bundle" /etc/ssl/certs/ca-certificates.crt
chmod 0644 /opt/bottle/system-roots.pem
