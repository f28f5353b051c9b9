/** Every bound of egress with its reason. Times are milliseconds, sizes bytes. */

/** Heads: what nginx, Apache and node accept together stays below; a larger one is an attack or a mistake. */
export const HEAD_MAX_BYTES = 64 * 1024
/** Reads that one head may come in: each joins what is here, so a head in single bytes would cost its square */
export const HEAD_PIECES_MAX = 1024
/** Request targets: RFC 9110 4.1 asks for at least 8,000 */
export const TARGET_MAX_BYTES = 8 * 1024
/** Header fields in one head, and fields in one trailer section */
export const FIELDS_MAX = 100
/** Trailer section: checksums and status codes, nothing else is known to come */
export const TRAILERS_MAX_BYTES = 8 * 1024
/** One chunk-size line with its extensions: extensions have no known use, long ones are CVE-2023-39326 */
export const CHUNK_LINE_MAX_BYTES = 256
/** Interim (1xx) answers before the final one: real servers send one or two */
export const INTERIM_MAX = 32

/** A whole head must arrive within this time, however slowly: holds off slowloris clients and dead upstreams' heads */
export const HEAD_MS = 30_000
/** A client that keeps a connection open between requests: longer than the pools of curl, node, undici and Go */
export const KEEP_ALIVE_MS = 5 * 60_000
/** No byte in either direction of a stream, or no answer of an upstream: the longest pause of model APIs is minutes */
export const IDLE_MS = 15 * 60_000
/** TCP connection to an upstream, for each address tried */
export const CONNECT_MS = 10_000
/** TLS handshake, towards clients and upstreams */
export const HANDSHAKE_MS = 10_000
/** One name lookup; the system resolver gives up after 5 s and one retry */
export const LOOKUP_MS = 11_000
/** Life of a good answer of the resolver: long enough for a burst, too short to pin a moved service */
export const LOOKUP_TTL_MS = 10_000
/** Names in the resolver's cache */
export const LOOKUP_CACHE_MAX = 1024
/** Addresses that are tried for one name: one per family and a spare */
export const DIAL_ADDRESSES_MAX = 4
/** Waiting for a connection: longer than the lookup, every address and the handshake, so that the client reads why */
export const REACH_MS = 90_000
/** How often deadlines and tunnels are looked at; a removed route closes its tunnels within 1 s */
export const SWEEP_MS = 250

/** Client connections at once: agents open tens; beyond this they are refused at once */
export const CLIENTS_MAX = 1024
/** Upstream connections per host, busy and idle, beyond which requests wait for one */
export const PER_HOST_MAX = 64
/** Requests that wait for a connection to one host */
export const PER_HOST_QUEUE_MAX = 1024
/** Upstream connections kept idle per host and altogether */
export const IDLE_PER_HOST_MAX = 32
export const IDLE_TOTAL_MAX = 256
/** An idle upstream connection is dropped after this: below the 60 s of common load balancers */
export const POOL_IDLE_MS = 45_000
/**
 * A request that must not be sent twice only goes on a connection that was used this recently: node closes idle
 * connections after 5 s, and a POST that meets the close cannot be retried.
 */
export const POOL_FRESH_MS = 2_500

/** Bytes held per direction before the sender is paused; two of these per request stay far below 64 MB */
export const HIGH_WATER_BYTES = 256 * 1024
/** Work on one connection at a stretch before the others have their turn: events of a stream must not wait longer */
export const TURN_MS = 5
/** Pieces of a body are joined up to this size before they are written: one TLS record and one system call */
export const BATCH_BYTES = 64 * 1024
/** Rest of a request body that is read and thrown away so that the client gets to read the refusal */
export const DRAIN_MAX_BYTES = 1024 * 1024
export const DRAIN_MS = 3_000
/** Body up to which a refused request keeps its connection */
export const DRAIN_KEEP_BYTES = 64 * 1024

/** ClientHello: post-quantum key shares make 2 KiB; TLS itself ends at 16 MiB, nothing real above 16 KiB */
export const HELLO_MAX_BYTES = 16 * 1024
/** Leaf certificates kept, one per host name */
export const LEAVES_MAX = 512
/** Life of a leaf: less than the bottle's authority lives, longer than a session */
export const LEAF_LIFE_MS = 7 * 24 * 3_600_000
/** Clocks of sandbox and gateway may differ by this */
export const LEAF_BACKDATE_MS = 3_600_000

/** One WebSocket frame: RFC 6455 allows 2^63, browsers and servers stop far below */
export const WS_FRAME_MAX_BYTES = 64 * 1024 * 1024
/** Headers and control frames that wait behind bytes of a message that are held back */
export const WS_PENDING_MAX_BYTES = 64 * 1024

/** Reports that init has not taken yet; beyond this traffic is refused, because what cannot be logged must not pass */
export const REPORT_BACKLOG_MAX_BYTES = 8 * 1024 * 1024
/** Allowed requests reported one by one per second, and at once; the rest is summed up once a second */
export const REPORT_RATE = 20
export const REPORT_BURST = 50
/** Time over which equal events are summed up */
export const REPORT_WINDOW_MS = 1_000
/** Sums kept at once: a stream of ever different paths falls into one sum beyond this */
export const REPORT_SUMS_MAX = 256
/** Characters of a path in an event: enough to know it, too few to carry much out */
export const REPORT_PATH_MAX = 256

/** Wait before the trusted roots are read, in milliseconds: after a start's last probe, before an agent's first call */
export const ROOTS_AFTER_MS = 300
