"""The live objects of a worker, and who owns them. Structs only; behaviour stands in the modules named here.

    worker_t       engine.pyx      one a process; everything hangs off it
    listener_t     engine.pyx      owned by the worker; outlives its configuration until its last connection has ended
    connection_t   connection.pyx  owned by the worker; ended by connection_close, freed at the end of the round
    tls_t          tls.pyx         owned by its connection
    http2_t        http2_session.pyx  owned by its connection
    http2_stream_t http2_streams.pyx  owned by its session; the memory of an ended one lasts until the round ends
    exchange_t     exchange.pyx    owned by itself: from exchange_new to exchange_finish
    endpoint_t     pool.pyx        counted: the tables that name it, and its connections
    tables_t       tables.pyx      counted: the engine, and the exchanges that began under it
    buffer_t       buffers.pyx     owned by the connection or exchange that took it
"""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastmesh._core.access_log cimport access_format_t
from fastmesh._core.balancer cimport load_t, subset_t
from fastmesh._core.hashing cimport sip_key_t
from fastmesh._core.headers cimport head_t, header_t
from fastmesh._core.hpack cimport hpack_decoder_t
from fastmesh._core.http1_chunked cimport chunked_t
from fastmesh._core.http1_parser cimport http1_limits_t
from fastmesh._core.limiter cimport limit_t
from fastmesh._core.networks cimport network_t
from fastmesh._core.router cimport router_t
from fastmesh._core.shared cimport (
    endpoint_stats_t,
    listener_stats_t,
    series_stats_t,
    service_stats_t,
    shared_t,
    worker_stats_t,
)
from fastmesh._core.sockets cimport sockaddr_storage, socklen_t
from fastmesh._core.timer_wheel cimport wheel_t, wheel_timer_t

cdef enum:                          # kinds of live objects: index into worker_stats_t.live; names in engine.LIVE_KINDS
    LIVE_DOWNSTREAM = 0
    LIVE_UPSTREAM
    LIVE_EXCHANGE
    LIVE_BUFFER
    LIVE_LISTENER
    LIVE_ENDPOINT
    LIVE_TABLES
    LIVE_STREAM
    LIVE_KIND_COUNT

cdef enum:                          # classes of buffers
    BUFFER_SMALL = 0                # 2 KiB: an exchange's request head
    BUFFER_MEDIUM = 1               # 16 KiB: output
    BUFFER_LARGE = 2                # 64 KiB
    BUFFER_HUGE = 3                 # 256 KiB: what one read of a big body may bring
    BUFFER_CLASSES = 4

cdef struct buffer_t:               # its bytes stand right behind the struct (buffer_data)
    buffer_t* next
    uint32_t capacity
    uint32_t begin
    uint32_t end
    uint8_t size_class

cdef enum source_kind_t:            # first byte of whatever an epoll event points to
    SOURCE_LISTENER = 1
    SOURCE_CONNECTION = 2
    SOURCE_TIMER = 3

cdef enum timer_kind_t:
    TIMER_CONNECTION = 1
    TIMER_EXCHANGE = 2
    TIMER_LISTENER = 3
    TIMER_HEARTBEAT = 4

cdef struct timer_t:
    wheel_timer_t node              # first: a popped node is cast back
    void* owner
    uint8_t kind                    # timer_kind_t

cdef enum io_flag_t:
    IO_READABLE = 1                 # there may be something to receive
    IO_WRITABLE = 2                 # there may be room to send
    IO_PEER_SHUT = 4                # the peer sent FIN (seen by epoll, maybe not yet by recv)
    IO_BROKEN = 8                   # reset or error: both directions are gone
    IO_END = 16                     # recv returned 0
    IO_SHUT = 32                    # we sent FIN
    IO_WRITE_BROKEN = 64            # send failed: nobody listens, but there may be something to receive
    IO_BLOCKED = 128                # output is queued and the source was told to wait

cdef enum connection_state_t:
    CONNECTION_CONNECTING = 0
    CONNECTION_SECURING = 1         # TCP stands, the TLS handshake is under way
    CONNECTION_OPEN = 2
    CONNECTION_FLUSHING = 3         # no more input; closes when the output is out
    CONNECTION_LINGERING = 4        # FIN sent, input is thrown away so that no RST destroys our answer
    CONNECTION_CLOSED = 5           # descriptor closed; freed at the end of the round

cdef enum protocol_t:               # snapshot.Protocol; of a connection: HTTP (not known yet), HTTP1, HTTP2 or TCP
    PROTOCOL_HTTP = 0
    PROTOCOL_HTTP1 = 1
    PROTOCOL_HTTP2 = 2
    PROTOCOL_TCP = 3
    PROTOCOL_DETECT = 4
    PROTOCOL_AUTO = 5

cdef enum proof_t:                  # what a failed try tells of whether the endpoint has acted on the request
    PROOF_NONE = 0                  # it may have
    PROOF_SILENT = 1                # not one byte of an answer had come
    PROOF_UNPROCESSED = 2           # it says that it has not (REFUSED_STREAM, GOAWAY)

cdef struct io_events_t:            # what a connection tells its codec
    void (*on_connected)(connection_t*) noexcept nogil          # and secured, where it is to be
    void (*on_input)(connection_t*) noexcept nogil
    void (*on_drained)(connection_t*) noexcept nogil            # the output queue that had blocked is empty
    void (*on_broken)(connection_t*, int error) noexcept nogil  # errno
    void (*on_deadline)(connection_t*) noexcept nogil

cdef struct server_codec_t:         # what an exchange asks of its downstream side
    io_events_t events
    void (*informational)(exchange_t*, head_t*) noexcept nogil
    void (*head)(exchange_t*, head_t*, bint is_end) noexcept nogil
    void (*body)(exchange_t*, const char*, size_t) noexcept nogil
    void (*end)(exchange_t*, head_t* trailers) noexcept nogil   # trailers may be NULL
    void (*abort)(exchange_t*) noexcept nogil                   # cut the response off, visibly
    void (*detach)(exchange_t*) noexcept nogil                  # the exchange is over: go on with the next
    bint (*blocked)(exchange_t*) noexcept nogil                 # output waits for the peer
    void (*resume)(exchange_t*) noexcept nogil                  # read on
    uint8_t protocol                                            # protocol_t
    void (*drain)(connection_t*) noexcept nogil                 # no new exchanges; end when those there are have ended

cdef struct client_codec_t:         # what an exchange asks of its upstream side
    io_events_t events
    void (*attach)(exchange_t*) noexcept nogil                  # take exchange.upstream; exchange_connected follows
    void (*head)(exchange_t*, bint is_end) noexcept nogil       # exchange.request
    void (*body)(exchange_t*, const char*, size_t) noexcept nogil
    void (*end)(exchange_t*, head_t* trailers) noexcept nogil
    void (*cancel)(exchange_t*) noexcept nogil
    bint (*blocked)(exchange_t*) noexcept nogil
    void (*resume)(exchange_t*) noexcept nogil
    uint8_t protocol                                            # protocol_t
    bint multiplexes                                            # a connection carries several exchanges at a time

cdef enum http1_phase_t:            # where an HTTP/1 connection stands in its input
    HTTP1_HEAD = 0
    HTTP1_BODY_LENGTH = 1
    HTTP1_BODY_CHUNKED = 2
    HTTP1_BODY_CLOSE = 3            # upstream only
    HTTP1_COMPLETE = 4              # the message is whole; nothing is read until the next may begin
    HTTP1_TUNNEL = 5                # after 101: bytes
    HTTP1_REFUSED = 6               # downstream only: input makes no sense any more

cdef struct http1_t:                # the HTTP/1 codec's state of one connection
    uint64_t remaining              # body bytes to come (HTTP1_BODY_LENGTH)
    uint64_t discarded              # body bytes thrown away after an early answer; upstream: 1xx heads so far
    size_t scanned                  # http1_find_head_end
    chunked_t chunked
    uint8_t phase                   # http1_phase_t
    uint8_t out_framing             # framing_t of what we send
    uint8_t keep_alive              # may carry another exchange
    uint8_t in_message              # bytes of the message being read have come

cdef enum:                          # tls_failure_t: why a handshake failed; index of listener_stats_t.tls_failures
    TLS_OK = 0
    TLS_TIMEOUT = 1                 # the peer stalled
    TLS_CLOSED = 2                  # the peer went away in the midst of it
    TLS_NOT_TLS = 3                 # plain HTTP, or garbage
    TLS_CERTIFICATE = 4             # the peer's certificate was missing, or not to be believed
    TLS_ALERT = 5                   # the peer refused ours, or found nothing in common
    TLS_PROTOCOL = 6                # no common version or cipher, or a breach of the protocol
    TLS_FAILURES = 7

cdef struct tls_t:                  # TLS of one connection
    void* ssl                       # SSL, owned
    void* received                  # BIO: records that came; owned by ssl
    void* written                   # BIO: records to be sent; owned by ssl
    buffer_t* unsent                # records that the socket has not taken yet; they count as output_bytes
    char* identity_text             # owned; the parts of the peer's verified identity; NULL: none
    uint16_t[3] identity_at         # offsets into it
    uint16_t[3] identity_len        # 0: it has no such part
    uint16_t forwarded_at           # and the value of X-Forwarded-Client-Cert
    uint16_t forwarded_len
    char* allowed_ids               # owned; upstream: as tls_service_t.spiffe_ids; NULL: any
    uint32_t allowed_ids_len
    uint32_t settings               # upstream: tls_service_t.settings
    uint32_t received_most          # the most that was in a BIO at a time: memory that it keeps
    uint32_t written_most
    uint8_t failure                 # tls_failure_t
    uint8_t version                 # 2, 3: TLS 1.2, 1.3
    uint8_t is_ready                # the handshake is done
    uint8_t has_heard               # the first bytes have come, and look like TLS
    uint8_t wants_input             # the handshake goes on when something comes
    uint8_t has_pending             # there is more to decrypt than there was room for
    uint8_t has_ended               # close_notify came
    uint8_t has_said_end            # close_notify was written
    uint8_t is_broken               # a record made no sense
    uint8_t was_resumed
    uint8_t has_kept_session        # upstream: it is at the endpoint
    char[96] detail                 # what was wrong with the handshake

cdef enum:                          # http2_stream_state_t: RFC 9113 5.1, without the states that only server push needs
    HTTP2_IDLE = 0                  # no HEADERS yet; upstream: no id yet either
    HTTP2_OPEN = 1
    HTTP2_HALF_LOCAL = 2            # we have sent END_STREAM
    HTTP2_HALF_REMOTE = 3           # the peer has
    HTTP2_CLOSED = 4                # in the table only while it has an exchange; the memory lasts until the round ends
    HTTP2_STREAM_STATES = 5

cdef enum http2_stream_flag_t:
    STREAM_HEAD_DONE = 1            # upstream: the final response head has come; what follows are trailers
    STREAM_IS_TUNNEL = 2            # CONNECT, plain or extended
    STREAM_ENDS_INPUT = 4           # END_STREAM has come; told to the exchange when `input` is empty
    STREAM_ENDS_OUTPUT = 8          # END_STREAM goes out behind `output`
    STREAM_IS_WAITING = 16          # in http2_t.waiting
    STREAM_IS_WOKEN = 32            # in http2_t.woken
    STREAM_HAS_LENGTH = 64          # body_left says how many body bytes are still to come
    STREAM_IS_MALFORMED = 128       # the answer to it ends with RST_STREAM PROTOCOL_ERROR

cdef struct http2_stream_t:         # one exchange on an HTTP/2 connection; see http2_streams.pyx
    uint32_t id                     # 0: not begun
    uint8_t state                   # http2_stream_state_t
    uint8_t flags                   # http2_stream_flag_t
    uint16_t informational          # 1xx heads so far
    http2_t* session
    http2_stream_t* next            # in its bucket; in worker.ended_streams; in worker.free_streams
    http2_stream_t* next_waiting    # http2_t.waiting, a ring list
    http2_stream_t* prev_waiting
    http2_stream_t* next_woken      # http2_t.woken
    exchange_t* exchange            # NULL: it is over for us
    int64_t send_window             # bytes; may be negative (RFC 9113 6.9.2)
    int32_t receive_window
    uint32_t unacknowledged         # received and consumed, not yet given back as a window
    uint64_t body_left              # with STREAM_HAS_LENGTH
    uint64_t activity_ms            # without an exchange: when output last went on
    buffer_t* input                 # body bytes that the other side does not take yet
    buffer_t* input_last
    buffer_t* output                # body bytes that wait for a window
    buffer_t* output_last
    buffer_t* input_trailers        # a head_t with its table and text
    buffer_t* output_trailers       # an encoded header block

cdef enum http2_phase_t:            # where the input of an HTTP/2 connection stands
    HTTP2_IN_PREFACE = 0            # downstream only
    HTTP2_AT_SETTINGS = 1           # the first frame must be SETTINGS
    HTTP2_AT_FRAME = 2
    HTTP2_IN_DATA = 3               # within the payload of a DATA frame
    HTTP2_IN_BLOCK = 4              # a header block goes on in CONTINUATION frames

cdef enum http2_flag_t:
    SESSION_IS_OVER = 1             # a GOAWAY for an error was sent: nothing more goes out or comes in
    SESSION_SAID_GOAWAY = 2         # the first, of a graceful end
    SESSION_SAID_LAST = 4           # the one with the last stream id: streams above it are not served
    SESSION_HEARD_GOAWAY = 8
    SESSION_HAS_SETTINGS = 16       # the peer's have come
    SESSION_TAKES_CONNECT = 32      # the peer's SETTINGS_ENABLE_CONNECT_PROTOCOL
    SESSION_SHRINKS_TABLE = 64      # the next header block begins with a table size update to 0 (RFC 7541 4.2)

cdef enum:                          # http2_attack_t, what peers are cut off for: index of worker_stats_t.http2_attacks
    HTTP2_ATTACK_RESET = 0          # streams reset as fast as they were opened
    HTTP2_ATTACK_CONTINUATION = 1   # a header block that does not end
    HTTP2_ATTACK_SETTINGS = 2
    HTTP2_ATTACK_PING = 3
    HTTP2_ATTACK_EMPTY = 4          # frames without content
    HTTP2_ATTACK_WINDOW = 5         # WINDOW_UPDATE
    HTTP2_ATTACK_PRIORITY = 6
    HTTP2_ATTACK_HEAD = 7           # header blocks that decode to more than is allowed
    HTTP2_ATTACK_STREAMS = 8        # streams above the limit
    HTTP2_ATTACK_CONTROL = 9        # answers that it makes us queue and does not read
    HTTP2_ATTACK_STALL = 10         # streams whose windows it never opens
    HTTP2_ATTACK_UNKNOWN = 11       # frames of unknown types
    HTTP2_ATTACKS = 12

cdef struct http2_role_t:           # what a session tells http2_server or _client; a stream may have ended after each
    # A header block that is whole: of a new stream (server, `stream` NULL), or of one's response.
    void (*on_head)(
        http2_t*, http2_stream_t* stream, uint32_t stream_id, const char* block, size_t length, bint is_end
    ) noexcept nogil
    bint (*takes_body)(http2_stream_t*) noexcept nogil
    void (*on_body)(http2_stream_t*, const char* data, size_t length) noexcept nogil
    # END_STREAM, all of the body was delivered; trailers may be NULL. Changes the stream's state. False: not now.
    bint (*on_end)(http2_stream_t*, head_t* trailers) noexcept nogil
    # A stream of this exchange has ended before its time, and is out of the table; `code`: of RST_STREAM, or ours.
    void (*on_reset)(http2_t*, exchange_t*, uint32_t code, bint by_peer, const char* detail) noexcept nogil
    void (*on_drained)(exchange_t*) noexcept nogil              # its output is wanted again
    void (*on_settings)(http2_t*) noexcept nogil
    void (*on_ping_ack)(http2_t*) noexcept nogil
    void (*on_goaway)(http2_t*, uint32_t last_stream_id, uint32_t code) noexcept nogil
    void (*on_quiet)(http2_t*) noexcept nogil                   # its last stream has ended
    void (*on_over)(http2_t*, const char* detail) noexcept nogil    # a GOAWAY for an error is written: end it all

cdef struct http2_t:                # the HTTP/2 codec's state of one connection; see http2_session.pyx
    connection_t* connection
    const http2_role_t* role
    hpack_decoder_t decoder
    uint8_t phase                   # http2_phase_t
    uint8_t flags                   # http2_flag_t
    uint8_t data_flags              # of the DATA frame that is being read
    uint8_t block_flags             # of the HEADERS frame whose block goes on
    uint8_t block_frames
    uint8_t reset_at                # next place in reset_ids
    uint8_t waits_for_pong
    uint8_t block_is_circular       # its priority makes the stream depend on itself
    uint32_t data_left              # of its payload, padding not counted
    uint32_t padding_left
    uint32_t data_stream_id
    uint32_t block_stream_id
    buffer_t* block                 # header block so far; NULL: none is under way
    uint32_t stream_count           # in the table, and waiting to begin
    uint32_t bucket_count           # power of two
    http2_stream_t** buckets        # by id; owned
    http2_stream_t* waiting         # ring list: output held up by the connection, or not begun yet
    http2_stream_t* woken           # input is wanted again
    uint32_t last_stream_id         # highest begun: by the client
    uint32_t streams_max            # at a time: downstream what we allow, upstream what the endpoint does
    uint32_t[8] reset_ids           # streams that we reset lately: what still comes for them is thrown away
    int64_t send_window
    int32_t receive_window
    uint32_t peer_window            # SETTINGS_INITIAL_WINDOW_SIZE of the peer
    uint32_t unacknowledged         # received on any stream, not yet given back as a window
    uint32_t buffered_bytes         # in `input` of all streams
    uint32_t control_bytes          # queued since the output was last empty, that the peer made us send
    buffer_t* tail                  # the frame that was written last: DATA of tail_stream_id, at tail_at in this buffer
    uint32_t tail_at
    uint32_t tail_stream_id         # 0: none
    uint64_t counted_since_ms       # http2_guard
    uint32_t target_max_bytes
    uint32_t head_max_bytes         # of a head that we take, decoded
    uint16_t header_max_count
    uint16_t[12] counts             # by http2_attack_t
    uint64_t quiet_due_ms           # 0: not quiet
    uint64_t block_due_ms           # 0: no header block is under way
    uint64_t grace_due_ms           # when the last GOAWAY is sent; 0: not going
    uint64_t age_due_ms             # when it begins to go; 0: never
    uint64_t stall_due_ms           # when streams without an exchange are looked at; 0: there are none
    uint32_t rest_ms                # how long it may be without a stream
    uint32_t head_timeout_ms        # for a header block in several frames

cdef struct connection_t:
    uint8_t source                  # SOURCE_CONNECTION
    uint8_t state                   # connection_state_t
    uint8_t io                      # io_flag_t
    uint8_t is_downstream
    uint8_t in_dirty                # listed in worker.dirty
    uint8_t in_ready                # listed in worker.ready
    uint8_t is_idle                 # upstream: in the pool
    uint8_t is_reused               # upstream: carried an exchange before
    uint8_t protocol                # protocol_t
    uint8_t flushes_late            # at the end of the round instead of after each event: many exchanges, one send
    uint8_t lingers                 # FLUSHING: the peer may still be sending
    uint8_t is_draining             # no new exchanges
    uint8_t is_shared               # upstream: listed in endpoint.shared
    uint8_t opening                 # downstream: opening_phase_t, until its codec is known
    int fd
    uint32_t read_bytes             # how much to ask for: grows while it comes, shrinks when the other side is slow
    worker_t* worker
    connection_t* next              # worker.connections
    connection_t* prev
    connection_t* next_dirty
    connection_t* next_ready
    connection_t* next_idle         # endpoint.idle, or endpoint.shared
    connection_t* prev_idle
    const io_events_t* events
    const server_codec_t* server    # downstream
    const client_codec_t* client    # upstream
    exchange_t* exchange            # HTTP/1 and TCP: the one
    tls_t* tls                      # NULL: plain
    http2_t* http2                  # NULL: it does not speak HTTP/2
    timer_t timer
    uint64_t deadline_ms            # when events.on_deadline is due; 0: never. The timer may fire earlier
    buffer_t* input                 # received, not yet consumed
    buffer_t* preamble              # upstream: sent as soon as it is connected, before TLS (a PROXY header); owned
    buffer_t* output_first          # to be sent
    buffer_t* output_last
    uint64_t output_bytes
    uint64_t lingered_bytes         # thrown away while LINGERING
    int unsent_bytes                # in the kernel, when last asked (connection_has_progressed)
    http1_t http1
    listener_t* listener            # downstream
    endpoint_t* endpoint            # upstream
    uint32_t requests               # exchanges begun
    uint64_t expires_ms             # not to be used for another exchange after; 0: never. While opening: its end
    uint64_t idle_since_ms
    uint16_t peer_port
    uint8_t peer_len
    char peer[46]                   # downstream: peer's address as text

cdef struct listener_t:
    uint8_t source                  # SOURCE_LISTENER
    uint8_t is_removed
    uint8_t is_paused               # descriptors had run out
    int fd                          # -1: closed
    uint32_t id
    uint32_t open_count
    uint64_t yields_since_ms        # it has more than its share, and leaves new ones to other workers; 0: it does not
    worker_t* worker
    listener_t* next
    listener_entry_t* entry         # in the worker's present tables; NULL: it is not configured any more
    listener_stats_t* stats
    timer_t timer                   # drain deadline, or end of the pause

cdef struct endpoint_t:
    load_t load                     # first: the balancer hands out &load
    uint32_t references
    uint32_t open_count
    uint32_t idle_count
    uint8_t is_gone                 # no table names it: connections are not kept
    uint64_t generation             # of the last installed tables that name it
    sockaddr_storage address
    socklen_t address_len
    connection_t* idle              # last used first
    connection_t* idle_oldest
    connection_t* shared            # open or connecting ones that take several exchanges each, by next_idle
    uint32_t streams_max            # HTTP/2: how many it takes at a time, as it said last
    uint8_t protocol                # PROTOCOL_AUTO: what ALPN chose last; PROTOCOL_HTTP: not known yet
    void* tls_session               # SSL_SESSION to resume, owned; NULL: none
    uint32_t tls_settings           # tls_service_t.settings that it belongs to
    endpoint_stats_t* stats
    service_stats_t* service_stats
    char text[64]                   # "address:port"

cdef struct key_t:                  # snapshot.Key
    uint8_t source                  # snapshot.KeySource
    uint16_t name_len
    const char* name                # lower case

cdef struct limit_entry_t:
    limit_t limit
    key_t key

cdef struct tls_name_t:             # a name for which a listener has a certificate
    const char* name                # lower case; "*.example.org" for a wildcard
    void* ssl_ctx                   # SSL_CTX, owned by the tables' Python objects

cdef struct tls_listener_t:         # snapshot.ListenerTls
    void* ssl_ctx                   # of the default certificate
    uint32_t name_count
    tls_name_t* names               # owned
    uint8_t client_certificate      # snapshot.ClientCertificate
    uint8_t is_optional
    uint8_t forwards_client_certificate
    uint8_t alpn_len
    uint8_t[32] alpn                # as the protocol writes it: lengths and names, the preferred first
    uint32_t handshake_timeout_ms

cdef struct tls_service_t:          # snapshot.ServiceTls
    void* ssl_ctx
    uint32_t settings               # a number for these very settings, in this process; never 0
    uint8_t verifies
    const char* server_name         # "": none
    const char* spiffe_ids          # each with its terminating zero, one behind the other; "": the name counts
    uint32_t spiffe_ids_len         # with the zeros; 0: none

cdef struct tcp_route_t:            # snapshot.TcpRoute
    route_entry_t* route            # owned; listener_count 1
    uint32_t sni_count
    const char** sni                # owned; lower case

cdef struct listener_entry_t:       # snapshot.Listener
    uint32_t id
    uint32_t index
    const char* name
    http1_limits_t limits
    uint64_t body_max_bytes
    uint32_t connections_max
    uint32_t connection_requests_max
    uint32_t head_timeout_ms
    uint32_t idle_timeout_ms
    uint8_t trusted_hops
    uint8_t via_len
    const char* via
    limit_entry_t* limit            # NULL: none
    series_stats_t* unrouted
    uint8_t protocol                # protocol_t
    tls_listener_t* tls             # owned; NULL: plain
    uint32_t tcp_route_count
    tcp_route_t* tcp_routes         # owned
    uint32_t proxy_network_count
    network_t* proxy_networks       # owned; whose connections begin with a PROXY header
    uint32_t detect_timeout_ms
    uint32_t streams_max
    uint32_t connection_age_max_ms
    uint32_t tcp_idle_timeout_ms

cdef struct service_entry_t:        # snapshot.Service
    uint32_t id
    const char* name
    uint8_t balance
    uint8_t panic_percent
    key_t hash_key
    uint32_t connect_timeout_ms
    uint32_t request_timeout_ms
    uint32_t idle_timeout_ms
    uint32_t pool_connections_max
    uint32_t pool_idle_timeout_ms
    uint32_t pool_age_max_ms
    limit_entry_t* limit
    service_stats_t* stats
    uint32_t subset_count
    subset_t** subsets              # owned
    uint32_t endpoint_count
    endpoint_t** endpoints          # references held
    uint8_t protocol                # protocol_t
    uint8_t proxy_protocol_version
    uint32_t streams_max
    tls_service_t* tls              # owned; NULL: plain

cdef struct destination_t:
    service_entry_t* service
    uint32_t subset_index
    int64_t weight
    int64_t rotation                # smooth weighted choice
    series_stats_t** series         # parallel to route_entry_t.listener_indexes

cdef struct route_entry_t:          # snapshot.Route
    const char* name
    uint32_t listener_count
    uint32_t* listener_indexes
    uint32_t destination_count
    int64_t weight_sum
    destination_t* destinations
    limit_entry_t* limit
    bint allows_connect

cdef struct tables_t:
    uint32_t references
    uint32_t listener_count
    listener_entry_t* listeners
    uint32_t service_count
    service_entry_t* services
    uint32_t route_count
    route_entry_t* routes
    limit_entry_t* limits
    router_t* router
    access_format_t* log_format     # NULL: no access log
    uint64_t log_threshold          # an exchange is logged when a random number is at most this

cdef enum exchange_flag_t:
    EXCHANGE_REQUEST_COMPLETE = 1       # the request has wholly arrived
    EXCHANGE_REQUEST_SENT = 2           # its end was given to the upstream codec
    EXCHANGE_RESPONSE_STARTED = 4       # a final head was given to the downstream codec
    EXCHANGE_RESPONSE_COMPLETE = 8      # its end too
    EXCHANGE_HEAD_SENT = 16             # the upstream codec has the request head
    EXCHANGE_TUNNEL = 32                # bytes both ways: after 101, a successful CONNECT, or from the start (TCP)
    EXCHANGE_ON_REUSED = 64             # the last try went out on a connection from the pool
    EXCHANGE_BODY_SENT = 128            # body bytes were given to the upstream codec: no second try
    EXCHANGE_COUNTED = 256              # counted as active at service and endpoint
    EXCHANGE_BAD = 512                  # the request was not understood
    EXCHANGE_TCP = 1024                 # no HTTP at all: no head, no status
    EXCHANGE_GRPC = 2048
    EXCHANGE_NOT_REPLAYABLE = 4096      # body bytes were sent that `replay` does not hold

cdef struct exchange_t:
    worker_t* worker
    connection_t* downstream
    connection_t* upstream          # NULL: none (yet)
    http2_stream_t* down_stream     # HTTP/2: its stream on the downstream connection
    http2_stream_t* up_stream       # and on the upstream connection
    tables_t* tables
    listener_entry_t* listener
    route_entry_t* route            # NULL: none matched
    destination_t* destination
    endpoint_t* endpoint            # reference held while set
    series_stats_t* series
    head_t request                  # its text and table stand in `block`
    buffer_t* block
    buffer_t* replay                # request body sent so far, for a second try; NULL: none
    timer_t timer
    uint64_t deadline_ns            # when the client gives up (grpc-timeout); 0: it did not say
    uint64_t begun_ns
    uint64_t sent_ns                # request head given to the upstream
    uint64_t answered_ns            # response head arrived; 0: none
    uint64_t activity_ms            # last byte in either direction
    uint64_t bytes_in               # body
    uint64_t bytes_out
    uint32_t flags                  # exchange_flag_t
    uint32_t client_off             # in request.text: the client's address as trusted proxies saw it
    uint32_t client_len             # 0: it is the downstream peer's
    uint16_t status
    uint8_t reason                  # reason_t
    uint8_t retries
    uint8_t connects_failed
    uint8_t upstream_protocol       # protocol_t of the last try
    int8_t grpc_status              # -1: none seen
    uint32_t retry_after_s          # for the client; 0: not said
    const char* detail              # static text, or ""

cdef struct worker_t:
    int epoll_fd
    int timer_fd
    uint8_t timer_source            # SOURCE_TIMER; what the timer's epoll event points to
    uint8_t is_draining
    uint32_t is_compiling           # tables that are being compiled: the event loop's turns are wanted
    uint64_t now_ns                 # CLOCK_MONOTONIC, read once a round
    uint64_t now_ms
    uint64_t unix_offset_ns         # CLOCK_REALTIME - CLOCK_MONOTONIC
    uint64_t random                 # splitmix64
    sip_key_t secret                # key of the hashes whose input a stranger picks; the same in all workers
    wheel_t wheel
    uint64_t armed_ms               # what timer_fd is set to; UINT64_MAX: nothing
    timer_t heartbeat
    buffer_t* scratch               # BUFFER_HUGE: where input is received
    header_t* scratch_headers
    char* records                   # TLS_RECORDS_BYTES: encrypted, on their way in or out; NULL: no TLS yet
    char* scratch_text              # SCRATCH_TEXT_BYTES: heads that are decoded (HTTP/2)
    buffer_t* free_buffers[4]
    uint32_t free_counts[4]
    exchange_t* free_exchanges      # kept for reuse, linked by `worker`
    uint32_t free_exchange_count
    connection_t* connections
    connection_t* dirty             # with output to flush at the end of this event
    connection_t* dirty_late        # and at the end of the round (connection_t.flushes_late)
    connection_t* ready             # to be handled again without an event
    connection_t* closed            # to be freed at the end of this round
    http2_stream_t* ended_streams   # the same
    http2_stream_t* free_streams    # for reuse
    uint32_t free_stream_count
    listener_t* listeners
    tables_t* tables
    uint64_t generation             # of the installed tables
    shared_t* shared
    uint32_t slot
    worker_stats_t* stats
    const server_codec_t* http1_server
    const client_codec_t* http1_client
    const server_codec_t* http2_server
    const client_codec_t* http2_client
    const server_codec_t* tcp_server
    const client_codec_t* tcp_client
    endpoint_t** endpoints          # by endpoint id; no references of its own
    int log_fd
    uint32_t log_len
    uint64_t log_since_ms
    char* log
