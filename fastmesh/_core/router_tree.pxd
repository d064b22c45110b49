"""The router's trees: a table of edges, and how it is built. All memory but the table comes from the router's arena."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp
from fastmesh._core.hashing cimport xxh64
from fastmesh._core.router cimport edge_t, host_t, node_t, router_t, rule_list_t, rule_t

cdef enum:
    NO_SLASH_SALT = 0x5BD1E995  # tells the path "*" from the path "/*"

# All of these: NULL or -1 when memory is short.
cdef router_t* tree_new(uint32_t listener_count, uint64_t secret_low, uint64_t secret_high) noexcept nogil
cdef void tree_free(router_t* router) noexcept nogil
# `name`: "example.org", "*.example.org", or empty for any host.
cdef host_t* tree_host(router_t* router, uint32_t listener_index, const char* name, uint32_t length) noexcept nogil
# The node of a path below a host; the empty path is the host itself.
cdef node_t* tree_path(router_t* router, node_t* root, const char* path, size_t length) noexcept nogil
# Insert in order of precedence.
cdef int tree_add_rule(router_t* router, rule_list_t* rules, rule_t* rule) noexcept nogil
# Of all routers of this process.
cdef uint64_t tree_live_nodes() noexcept nogil


# The hash of an edge from that of the edge before it. Callers keep it in hand instead of reading node.hash, so that the
# processor can look ahead along the path while it waits for memory.
cdef inline uint64_t segment_hash(uint64_t parent_hash, const char* segment, size_t length) noexcept nogil:
    return xxh64(segment, length, parent_hash)


cdef inline uint64_t no_slash_hash(uint64_t root_hash, const char* path, size_t length) noexcept nogil:
    return xxh64(path, length, root_hash ^ NO_SLASH_SALT)


cdef inline node_t* tree_find(
    const router_t* router, uint64_t hash, const node_t* parent, const char* label, size_t length
) noexcept nogil:
    cdef uint64_t at = hash & router.edge_mask
    cdef const edge_t* edge = &router.edges[at]
    cdef node_t* node
    while edge.node != NULL:
        node = edge.node
        if edge.hash == hash and node.parent == parent and node.label.length == length:
            if memcmp(node.label.data, label, length) == 0:
                return node
        at = (at + 1) & router.edge_mask
        edge = &router.edges[at]
    return NULL
