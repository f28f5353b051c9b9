/**
 * Which of the host's `/etc` a sandbox sees: a list of names, because whatever a machine adds to `/etc` later may hold
 * a secret. A name is here when programs fail or misread the system without it, and when neither its purpose nor
 * habit puts a secret into it.
 */

/** Names below `/etc`; a `*` stands for any characters within one name */
export const ETC_NAMES: readonly string[] = [
  // The dynamic linker: without its cache, libraries in multiarch and private folders are not found.
  "ld.so.cache",
  "ld.so.conf",
  "ld.so.conf.d",
  "ld-musl-*.path",
  // Half of /usr/bin on Debian and Fedora are links through here: awk, vi, java, cc.
  "alternatives",
  // The time zone, as link and as text; both are read to learn its name.
  "localtime",
  "timezone",
  // Names of locales that setlocale(3) translates, and the default that some programs read by themselves.
  "locale.alias",
  "locale.conf",
  // Which system this is: installers, node-gyp and Playwright choose by it.
  "os-release",
  "debian_version",
  "lsb-release",
  "alpine-release",
  "arch-release",
  "redhat-release",
  "fedora-release",
  "system-release",
  // Terminals that the distribution added, and keys of readline.
  "terminfo",
  "inputrc",
  // getservbyname(3) and getprotobyname(3): curl and Perl's sockets ask for "https" and "tcp".
  "services",
  "protocols",
  // Kinds of files: Python's mimetypes, file(1).
  "mime.types",
  "magic",
  "magic.mime",
  // Runtimes whose installation in /usr links to its configuration here and does not start without it.
  "python3*",
  "perl",
  "java",
  "java-*",
  // Maven: its class path and its log format; settings.xml beside them holds passwords of servers.
  "maven/m2.conf",
  "maven/logging",
  // Browsers and everything that draws text.
  "fonts",
  // `openssl req` refuses to run without it; Fedora's includes the policy of the system.
  "ssl/openssl.cnf",
  "pki/tls/openssl.cnf",
  "pki/tls/openssl.d",
  "crypto-policies",
]

/*
 * Left out for a reason that is not obvious:
 *
 * - profile, profile.d, bash.bashrc, bashrc, zsh, environment, environment.d: administrators export proxy passwords
 *   and tokens there; and Debian's profile sets PATH anew, which would lose the agent's own tool.
 * - gitconfig, npmrc, pip.conf, wgetrc, gemrc, maven/settings.xml, apt, php, R: credentials of registries, proxies
 *   and licences.
 * - resolv.conf, hosts, networks, host.conf, gai.conf, nsswitch.conf: there is no network to resolve for, and they
 *   tell names and addresses of the inner network; those that programs need are written anew.
 * - machine-id, hostname: they tell machines apart, and nothing inside may.
 * - passwd, group: names of the machine's people; written anew.
 * - shadow, gshadow, sudoers, ssh, ssl/private, pam.d, security, krb5*, NetworkManager, docker: what they are for.
 * - ld.so.preload: it would load the host's watching libraries into every program of the sandbox.
 * - rpc, ethertypes, shells, skel, login.defs, xdg: nothing that runs inside reads them to any effect.
 */
