"""Building the router's trees; they only ever grow, and end as a whole."""

from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcpy, memmove
from fastmesh._core.arena cimport arena_release, arena_take
from fastmesh._core.hashing cimport keyed_hash, splitmix64
from fastmesh._core.router cimport listener_hosts_t

cdef enum:
    EDGES_MIN = 64

# Moved only by tree_new, tree_host, tree_path and tree_free, all under the GIL.
cdef uint64_t live_nodes = 0


cdef router_t* tree_new(uint32_t listener_count, uint64_t secret_low, uint64_t secret_high) noexcept nogil:
    cdef router_t* router = <router_t*>calloc(1, sizeof(router_t))
    cdef listener_hosts_t* hosts
    cdef uint32_t i
    if router == NULL:
        return NULL
    router.listener_count = listener_count
    router.edges = <edge_t*>calloc(EDGES_MIN, sizeof(edge_t))
    router.edge_mask = EDGES_MIN - 1
    router.listeners = <listener_hosts_t*>arena_take(&router.arena, (listener_count + 1) * sizeof(listener_hosts_t))
    if router.edges == NULL or router.listeners == NULL:
        tree_free(router)
        return NULL
    for i in range(listener_count):
        hosts = &router.listeners[i]
        hosts.exact_key.low = splitmix64(&secret_low)
        hosts.exact_key.high = splitmix64(&secret_high)
        hosts.wildcard_key.low = splitmix64(&secret_low)
        hosts.wildcard_key.high = splitmix64(&secret_high)
    return router


cdef void tree_free(router_t* router) noexcept nogil:
    global live_nodes
    if router == NULL:
        return
    live_nodes -= router.node_count
    arena_release(&router.arena)
    free(router.edges)
    free(router)


cdef uint64_t tree_live_nodes() noexcept nogil:
    return live_nodes


cdef void place_edge(edge_t* edges, uint64_t mask, uint64_t hash, node_t* node) noexcept nogil:
    cdef uint64_t at = hash & mask
    while edges[at].node != NULL:
        at = (at + 1) & mask
    edges[at].hash = hash
    edges[at].node = node


cdef int grow_edges(router_t* router) noexcept nogil:
    cdef uint64_t size = (router.edge_mask + 1) * 2
    cdef edge_t* edges = <edge_t*>calloc(size, sizeof(edge_t))
    cdef uint64_t i
    if edges == NULL:
        return -1
    for i in range(router.edge_mask + 1):
        if router.edges[i].node != NULL:
            place_edge(edges, size - 1, router.edges[i].hash, router.edges[i].node)
    free(router.edges)
    router.edges = edges
    router.edge_mask = size - 1
    return 0


cdef node_t* new_node(
    router_t* router, size_t size, uint64_t hash, node_t* parent, const char* label, size_t length
) noexcept nogil:
    # `size` is that of a node_t or of a host_t, which begins with one; the label lies right behind it.
    global live_nodes
    cdef char* memory = <char*>arena_take(&router.arena, size + length)
    cdef node_t* node = <node_t*>memory
    if memory == NULL:
        return NULL
    memcpy(memory + size, label, length)
    node.hash = hash
    node.parent = parent
    node.label.data = memory + size
    node.label.length = <uint32_t>length
    router.node_count += 1
    live_nodes += 1
    return node


cdef node_t* find_or_add(
    router_t* router, size_t size, uint64_t hash, node_t* parent, const char* label, size_t length
) noexcept nogil:
    cdef node_t* node = tree_find(router, hash, parent, label, length)
    if node != NULL:
        return node
    if (router.edge_count + 1) * 2 > router.edge_mask + 1 and grow_edges(router) != 0:
        return NULL
    node = new_node(router, size, hash, parent, label, length)
    if node != NULL:
        place_edge(router.edges, router.edge_mask, hash, node)
        router.edge_count += 1
    return node


cdef uint32_t count_labels(const char* name, uint32_t length) noexcept nogil:
    cdef uint32_t labels = 1
    cdef uint32_t i
    for i in range(length):
        labels += name[i] == c'.'
    return labels


cdef host_t* tree_host(router_t* router, uint32_t listener_index, const char* name, uint32_t length) noexcept nogil:
    cdef listener_hosts_t* hosts = &router.listeners[listener_index]
    cdef uint32_t labels
    if length == 0:
        if hosts.any == NULL:
            hosts.any = <host_t*>new_node(router, sizeof(host_t), keyed_hash(name, 0, &hosts.exact_key), NULL, name, 0)
        return hosts.any
    if length > 2 and name[0] == c'*' and name[1] == c'.':
        labels = min(count_labels(name + 2, length - 2), <uint32_t>127)
        hosts.wildcard_labels[labels >> 6] |= <uint64_t>1 << (labels & 63)
        return <host_t*>find_or_add(
            router, sizeof(host_t), keyed_hash(name + 2, length - 2, &hosts.wildcard_key), NULL, name + 2, length - 2
        )
    hosts.exact_count += 1
    return <host_t*>find_or_add(
        router, sizeof(host_t), keyed_hash(name, length, &hosts.exact_key), NULL, name, length
    )


cdef node_t* tree_path(router_t* router, node_t* root, const char* path, size_t length) noexcept nogil:
    cdef const char* end = path + length
    cdef const char* stop
    cdef node_t* node = root
    if length == 0:
        return root
    if path[0] != c'/':
        return find_or_add(router, sizeof(node_t), no_slash_hash(root.hash, path, length), root, path, length)
    while node != NULL:
        path += 1
        stop = <const char*>memchr(path, c'/', end - path)
        if stop == NULL:
            stop = end
        node = find_or_add(router, sizeof(node_t), segment_hash(node.hash, path, stop - path), node, path, stop - path)
        if stop == end:
            break
        path = stop
    return node


cdef bint stands_before(const rule_t* a, const rule_t* b) noexcept nogil:
    if a.pattern_length != b.pattern_length:
        return a.pattern_length > b.pattern_length
    if (a.methods != 0) != (b.methods != 0):
        return a.methods != 0
    if a.client_count != b.client_count:
        return a.client_count > b.client_count
    if a.header_count != b.header_count:
        return a.header_count > b.header_count
    if a.query_count != b.query_count:
        return a.query_count > b.query_count
    return a.index < b.index


cdef int make_room(router_t* router, rule_list_t* rules) noexcept nogil:
    cdef uint32_t capacity = rules.capacity * 2 if rules.capacity else 4
    cdef rule_t** many
    if rules.count < rules.capacity:
        return 0
    many = <rule_t**>arena_take(&router.arena, capacity * sizeof(rule_t*))
    if many == NULL:
        return -1
    if rules.capacity:
        memcpy(many, rules.at.many, rules.count * sizeof(rule_t*))
    else:
        many[0] = rules.at.one
    rules.at.many = many
    rules.capacity = capacity
    return 0


cdef int tree_add_rule(router_t* router, rule_list_t* rules, rule_t* rule) noexcept nogil:
    cdef uint32_t low = 0
    cdef uint32_t high = rules.count
    cdef uint32_t middle
    if rules.count == 0:
        rules.at.one = rule
        rules.count = 1
        return 0
    if make_room(router, rules) != 0:
        return -1
    while low < high:
        middle = (low + high) // 2
        if stands_before(rule, rules.at.many[middle]):
            high = middle
        else:
            low = middle + 1
    memmove(&rules.at.many[low + 1], &rules.at.many[low], (rules.count - low) * sizeof(rule_t*))
    rules.at.many[low] = rule
    rules.count += 1
    return 0
