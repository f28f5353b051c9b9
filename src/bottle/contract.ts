/**
 * The agent's environment as a written contract: the same on every backend. docs/environment.md is its page for people.
 */
import {
  AGENT_HOME,
  AGENT_USER,
  CA_BUNDLE,
  CA_CERT,
  CA_JAVA,
  EGRESS_PORT,
  GIT_GATE_PORT,
  SUPERVISE_PORT,
  WORKSPACE,
} from "../policy/paths.ts"

const PROXY = `http://127.0.0.1:${EGRESS_PORT}`
/** Loopback never leaves the sandbox, so it needs no proxy. */
const NO_PROXY = "localhost,127.0.0.1,::1"

/** Java reads neither proxy variables nor PEM files, so it is told by properties. */
const JAVA_OPTIONS = [
  "-Dhttp.proxyHost=127.0.0.1",
  `-Dhttp.proxyPort=${EGRESS_PORT}`,
  "-Dhttps.proxyHost=127.0.0.1",
  `-Dhttps.proxyPort=${EGRESS_PORT}`,
  "-Dhttp.nonProxyHosts=localhost|127.0.0.1",
  `-Djavax.net.ssl.trustStore=${CA_JAVA}`,
  "-Djavax.net.ssl.trustStoreType=JKS",
  "-Djavax.net.ssl.trustStorePassword=changeit",
].join(" ")

/** Variables that every bottle has. */
const ALWAYS: Record<string, string> = {
  HOME: AGENT_HOME,
  USER: AGENT_USER,
  LOGNAME: AGENT_USER,
  SHELL: "/bin/bash",
  PATH: `${AGENT_HOME}/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
  PWD: WORKSPACE,
  LANG: "C.UTF-8",
  HTTP_PROXY: PROXY,
  HTTPS_PROXY: PROXY,
  ALL_PROXY: PROXY,
  NO_PROXY,
  http_proxy: PROXY,
  https_proxy: PROXY,
  all_proxy: PROXY,
  no_proxy: NO_PROXY,
  // node's own fetch reads the proxy variables only when it is told to (22.21 and 24 on).
  NODE_USE_ENV_PROXY: "1",
  // node adds to its roots; everything else replaces them and so needs the whole bundle.
  NODE_EXTRA_CA_CERTS: CA_CERT,
  SSL_CERT_FILE: CA_BUNDLE,
  CURL_CA_BUNDLE: CA_BUNDLE,
  GIT_SSL_CAINFO: CA_BUNDLE,
  REQUESTS_CA_BUNDLE: CA_BUNDLE,
  PIP_CERT: CA_BUNDLE,
  AWS_CA_BUNDLE: CA_BUNDLE,
  CARGO_HTTP_CAINFO: CA_BUNDLE,
  DENO_CERT: CA_CERT,
  JAVA_TOOL_OPTIONS: JAVA_OPTIONS,
}

const TERMINAL = ["TERM", "COLORTERM"]
const GATE = "GIT_GATE_URL"
const SUPERVISE = "MCP_SUPERVISE_URL"

/** Names that a manifest may not set, because the wall's ways in and out depend on them. */
export const CONTRACT_NAMES: ReadonlySet<string> = new Set([
  ...Object.keys(ALWAYS),
  ...TERMINAL,
  GATE,
  SUPERVISE,
])

/** What of the bottle decides on the environment. */
export interface ContractInput {
  /** True when the bottle has git repositories behind the gate */
  gitGate: boolean
  /** True when the agent may ask for changes of policy */
  supervise: boolean
  /** The host's TERM and COLORTERM; left out when the agent has no terminal */
  terminal?: { term: string; colorTerm: string }
}

/** The contract's variables for one bottle. */
export function contractEnv(input: ContractInput): Record<string, string> {
  return {
    ...ALWAYS,
    TERM: input.terminal?.term || "dumb",
    ...(input.terminal?.colorTerm ? { COLORTERM: input.terminal.colorTerm } : {}),
    ...(input.gitGate ? { [GATE]: `http://127.0.0.1:${GIT_GATE_PORT}` } : {}),
    ...(input.supervise ? { [SUPERVISE]: `http://127.0.0.1:${SUPERVISE_PORT}/mcp` } : {}),
  }
}
