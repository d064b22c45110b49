"""The compiled router: a head in, the index of a route out.

Per listener: hosts in a hash (exact, then the longest wildcard suffix, then any), paths in a tree of segments, then the
few candidates left in order of precedence with their method, header and query tests (Gateway API: exact path > regex >
longest prefix > method > number of headers > number of query > first written). A regular expression stands before
prefixes, as in nginx and Envoy Gateway: behind them, a route for "/" would hide every one of them.

10,000 routes cost what 10 cost: all edges of all trees, hosts included, lie in one hash table, so that a step costs two
cache lines however many siblings there are. The hash is keyed (a client picks the keys that are looked up).
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastmesh._core.arena cimport arena_t
from fastmesh._core.hashing cimport sip_key_t
from fastmesh._core.headers cimport head_t, header_t, identity_t
from fastmesh._core.router_values cimport text_t, value_test_t

cdef enum:
    HOST_MAX_BYTES = 255        # RFC 1035 2.3.4; a longer one is no host that we know

cdef enum path_match_t:         # snapshot.PathMatch
    PATH_EXACT = 0
    PATH_PREFIX = 1
    PATH_REGEX = 2

cdef struct rule_t:             # what a route asks of a request beside host and path
    int32_t index               # into Snapshot.routes
    uint16_t methods            # a bit for each method_id_t; 0: any method; bit 0: see other_methods
    uint16_t other_count
    uint16_t header_count
    uint16_t query_count
    uint16_t client_count
    uint32_t pattern_length
    value_test_t* headers
    value_test_t* query
    value_test_t* client
    text_t* other_methods       # those without an id
    void* pattern               # PATH_REGEX: borrowed from Router.patterns
    text_t literal              # PATH_REGEX: what every match begins with

cdef union rules_at_t:
    rule_t* one                 # capacity 0
    rule_t** many

cdef struct rule_list_t:        # in order of precedence
    uint32_t count
    uint32_t capacity
    rules_at_t at

cdef struct node_t:             # a host, or a path that ends with this segment
    uint64_t hash               # of the edge that leads here; seeds those that leave
    node_t* parent              # NULL: a host
    rule_list_t exact
    rule_list_t prefix
    text_t label

cdef struct host_t:
    node_t root                 # root.prefix: the prefix "/"
    rule_list_t regexes         # the longest pattern first

cdef struct edge_t:
    uint64_t hash
    node_t* node                # NULL: free

cdef struct listener_hosts_t:
    sip_key_t exact_key
    sip_key_t wildcard_key
    uint32_t exact_count
    uint64_t[2] wildcard_labels  # a bit for each number of labels that a wildcard's suffix has
    host_t* any

cdef struct router_t:
    arena_t arena               # owns all but the table
    edge_t* edges               # owned; open addressing, at most half full
    uint64_t edge_mask
    uint32_t edge_count
    uint32_t node_count
    uint32_t listener_count
    listener_hosts_t* listeners

cdef class Router:
    cdef router_t* ptr          # owned
    cdef list patterns          # keeps the regular expressions alive
    cdef bint finished

cdef class RequestHead:
    cdef head_t head            # borrows from `text`, and `identity`
    cdef identity_t identity
    cdef list identity_texts
    cdef bytes text
    cdef header_t* fields       # owned

# The index into Snapshot.routes, or -1. Never allocates; takes the GIL only to run a route's regular expression.
cdef int32_t router_match(const router_t* router, uint32_t listener_index, head_t* head) noexcept nogil
# Host of an authority: lower case, without port and one trailing dot. `out` has HOST_MAX_BYTES; 0: none that we know.
cdef uint32_t host_normalise(const char* authority, size_t length, char* out) noexcept nogil
