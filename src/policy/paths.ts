/** Places inside the sandbox and the gateway that host program, init, inner and images agree on. */

/** Folder of unix sockets shared by gateway and sandbox, read-only in the sandbox */
export const SOCKET_DIR = "/run/bottle/sock"
/** Socket of the forward proxy; each daemon has a folder of its own that only it may write */
export const EGRESS_SOCKET = `${SOCKET_DIR}/egress/egress.sock`
export const GIT_GATE_SOCKET = `${SOCKET_DIR}/git-gate/git-gate.sock`
export const SUPERVISE_SOCKET = `${SOCKET_DIR}/supervise/supervise.sock`
/** Socket that inner connects to once, before the agent exists */
export const LIFELINE_SOCKET = `${SOCKET_DIR}/init/lifeline.sock`
/** Socket that inner connects to for each session it is asked to join */
export const SESSION_SOCKET = `${SOCKET_DIR}/init/session.sock`
/** Certificate of the bottle's own authority, PEM */
export const CA_CERT = `${SOCKET_DIR}/init/ca.pem`
/** System roots, corporate roots and the bottle's authority, PEM */
export const CA_BUNDLE = `${SOCKET_DIR}/init/ca-bundle.pem`
/** The same as CA_CERT as a Java trust store, type JKS, password `changeit` */
export const CA_JAVA = `${SOCKET_DIR}/init/ca.jks`
/** Control socket, in a folder that the sandbox does not see */
export const CONTROL_SOCKET = "/run/bottle/control/control.sock"
/** Folder of the ledger inside the gateway */
export const LEDGER_DIR = "/var/lib/bottle/ledger"
/** Name that egress itself answers: the live rules, without values */
export const INTERNAL_HOST = "bottle.internal"

/** Loopback ports inside the sandbox that inner relays to the sockets */
export const EGRESS_PORT = 9099
export const GIT_GATE_PORT = 9420
export const SUPERVISE_PORT = 9100

/** The agent's user, home and workspace inside the sandbox */
export const AGENT_UID = 1000
export const AGENT_GID = 1000
export const AGENT_USER = "agent"
export const AGENT_HOME = "/home/agent"
export const WORKSPACE = "/workspace"
