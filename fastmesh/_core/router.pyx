"""Matching a request's head against the compiled routes, and compiling them."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport UINT16_MAX, int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp
from fastmesh._core.arena cimport arena_take
from fastmesh._core.ascii cimport ascii_lower_copy
from fastmesh._core.hashing cimport keyed_hash
from fastmesh._core.headers cimport (
    METHOD_CONNECT, METHOD_DELETE, METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_OTHER, METHOD_PATCH, METHOD_POST,
    METHOD_PUT, METHOD_TRACE,
)
from fastmesh._core.regex cimport regex_fullmatch
from fastmesh._core.router_tree cimport (
    no_slash_hash, segment_hash, tree_add_rule, tree_find, tree_free, tree_host, tree_live_nodes, tree_new, tree_path,
)
from fastmesh._core.router_values cimport (
    header_test_passes, identity_test_compile, identity_test_passes, query_test_passes, text_copy, value_test_compile,
)

import os

from fastmesh._core import regex

cdef dict METHOD_IDS = {
    "GET": METHOD_GET, "HEAD": METHOD_HEAD, "POST": METHOD_POST, "PUT": METHOD_PUT, "DELETE": METHOD_DELETE,
    "PATCH": METHOD_PATCH, "OPTIONS": METHOD_OPTIONS, "CONNECT": METHOD_CONNECT, "TRACE": METHOD_TRACE,
}


cdef uint32_t host_normalise(const char* authority, size_t length, char* out) noexcept nogil:
    cdef const char* end = NULL
    cdef uint32_t size
    if length and authority[0] == c'[':
        end = <const char*>memchr(authority, c']', length)
        size = <uint32_t>(end + 1 - authority) if end != NULL else 0
    else:
        end = <const char*>memchr(authority, c':', length)
        size = <uint32_t>(end - authority) if end != NULL else <uint32_t>length
        if size and authority[size - 1] == c'.':
            size -= 1
    if size > HOST_MAX_BYTES:
        return 0
    ascii_lower_copy(out, authority, size)
    return size


cdef bint other_method_listed(const rule_t* rule, const head_t* head) noexcept nogil:
    cdef uint32_t i
    for i in range(rule.other_count):
        if rule.other_methods[i].length == head.method_len:
            if memcmp(rule.other_methods[i].data, head.text + head.method_off, head.method_len) == 0:
                return True
    return False


cdef bint rule_passes(const rule_t* rule, const head_t* head) noexcept nogil:
    cdef uint32_t i
    if rule.methods:
        if head.method_id == METHOD_OTHER:
            if not other_method_listed(rule, head):
                return False
        elif not rule.methods >> head.method_id & 1:
            return False
    if rule.pattern != NULL:
        if head.path_len < rule.literal.length:
            return False
        if memcmp(head.text + head.path_off, rule.literal.data, rule.literal.length) != 0:
            return False
    for i in range(rule.header_count):
        if not header_test_passes(&rule.headers[i], head):
            return False
    for i in range(rule.query_count):
        if not query_test_passes(&rule.query[i], head):
            return False
    for i in range(rule.client_count):
        if not identity_test_passes(&rule.client[i], head):
            return False
    # Last: it is the only test that takes the GIL.
    return rule.pattern == NULL or regex_fullmatch(rule.pattern, head.text + head.path_off, head.path_len)


cdef int32_t first_that_passes(const rule_list_t* rules, const head_t* head) noexcept nogil:
    cdef uint32_t i
    if rules.capacity == 0:
        return rules.at.one.index if rules.count and rule_passes(rules.at.one, head) else -1
    for i in range(rules.count):
        if rule_passes(rules.at.many[i], head):
            return rules.at.many[i].index
    return -1


cdef const node_t* walk_path(
    const router_t* router, const node_t* root, uint64_t hash, const head_t* head, const node_t** exact
) noexcept nogil:
    # The deepest node on the path; *exact is it when it is the path's end, else NULL.
    cdef const char* path = head.text + head.path_off
    cdef const char* end = path + head.path_len
    cdef const char* stop
    cdef const node_t* node = root
    cdef const node_t* child
    exact[0] = NULL
    if head.path_len == 0 or path[0] != c'/':
        exact[0] = tree_find(router, no_slash_hash(hash, path, head.path_len), root, path, head.path_len)
        return root
    while True:
        path += 1
        stop = <const char*>memchr(path, c'/', end - path)
        if stop == NULL:
            stop = end
        hash = segment_hash(hash, path, stop - path)
        child = tree_find(router, hash, node, path, stop - path)
        if child == NULL:
            return node
        node = child
        if stop == end:
            exact[0] = node
            return node
        path = stop


cdef int32_t match_host(const router_t* router, const host_t* host, uint64_t hash, const head_t* head) noexcept nogil:
    cdef const node_t* exact
    cdef const node_t* node = walk_path(router, &host.root, hash, head, &exact)
    cdef int32_t index = -1
    if exact != NULL:
        index = first_that_passes(&exact.exact, head)
    if index < 0 and host.regexes.count and head.path_len and head.text[head.path_off] == c'/':
        index = first_that_passes(&host.regexes, head)
    while index < 0 and node != NULL:
        index = first_that_passes(&node.prefix, head)
        node = node.parent
    return index


cdef int32_t match_wildcards(
    const router_t* router, const listener_hosts_t* hosts, const char* name, uint32_t length, head_t* head
) noexcept nogil:
    # Only suffixes with as many labels as some wildcard has are looked up, so a name of many labels costs nothing more.
    cdef const node_t* node
    cdef const char* suffix
    cdef uint64_t hash
    cdef uint32_t size
    cdef uint32_t labels = 0
    cdef uint32_t i
    cdef int32_t index
    for i in range(length):
        labels += name[i] == c'.'
    for i in range(1, length):
        if name[i] != c'.':
            continue
        if labels < 128 and hosts.wildcard_labels[labels >> 6] >> (labels & 63) & 1:
            suffix = name + i + 1
            size = length - i - 1
            hash = keyed_hash(suffix, size, &hosts.wildcard_key)
            node = tree_find(router, hash, NULL, suffix, size)
            if node != NULL:
                index = match_host(router, <const host_t*>node, hash, head)
                if index >= 0:
                    return index
        labels -= 1
    return -1


cdef int32_t router_match(const router_t* router, uint32_t listener_index, head_t* head) noexcept nogil:
    cdef char[HOST_MAX_BYTES] name
    cdef uint32_t length
    cdef const listener_hosts_t* hosts
    cdef const node_t* node
    cdef uint64_t hash
    cdef int32_t index
    if listener_index >= router.listener_count:
        return -1
    hosts = &router.listeners[listener_index]
    if hosts.exact_count or hosts.wildcard_labels[0] or hosts.wildcard_labels[1]:
        length = host_normalise(head.text + head.authority_off, head.authority_len, name)
        if hosts.exact_count and length:
            hash = keyed_hash(name, length, &hosts.exact_key)
            node = tree_find(router, hash, NULL, name, length)
            if node != NULL:
                index = match_host(router, <const host_t*>node, hash, head)
                if index >= 0:
                    return index
        if length and (hosts.wildcard_labels[0] or hosts.wildcard_labels[1]):
            index = match_wildcards(router, hosts, name, length, head)
            if index >= 0:
                return index
    return match_host(router, hosts.any, hosts.any.root.hash, head) if hosts.any != NULL else -1


cdef void* take(router_t* router, size_t size) except NULL:
    cdef void* memory = arena_take(&router.arena, size)
    if memory == NULL:
        raise MemoryError
    return memory


cdef int compile_methods(router_t* router, rule_t* rule, tuple methods) except -1:
    rule.other_methods = <text_t*>take(router, <size_t>len(methods) * sizeof(text_t))
    for method in methods:
        rule.methods |= <uint16_t>(1 << <int>METHOD_IDS.get(method, METHOD_OTHER))
        if method not in METHOD_IDS:
            text_copy(&rule.other_methods[rule.other_count], method, &router.arena)
            rule.other_count += 1
    return 0


cdef value_test_t* compile_tests(router_t* router, tuple sources, list patterns) except NULL:
    cdef value_test_t* tests = <value_test_t*>take(router, <size_t>len(sources) * sizeof(value_test_t))
    cdef Py_ssize_t i
    for i in range(len(sources)):
        value_test_compile(&tests[i], sources[i], &router.arena, patterns)
    return tests


cdef int compile_client(router_t* router, rule_t* rule, tuple sources, list patterns) except -1:
    cdef Py_ssize_t i
    rule.client_count = <uint16_t>len(sources)
    rule.client = <value_test_t*>take(router, <size_t>len(sources) * sizeof(value_test_t))
    for i in range(len(sources)):
        identity_test_compile(&rule.client[i], sources[i], &router.arena, patterns)
    return 0


cdef rule_t* compile_rule(router_t* router, object route, int32_t index, list patterns) except NULL:
    cdef rule_t* rule = <rule_t*>take(router, sizeof(rule_t))
    cdef object pattern
    if max(len(route.headers), len(route.query), len(route.methods)) > UINT16_MAX:
        raise ValueError(f"route {route.name!r} has more than {UINT16_MAX} tests of one kind")
    rule.index = index
    compile_methods(router, rule, route.methods)
    rule.header_count = <uint16_t>len(route.headers)
    rule.query_count = <uint16_t>len(route.query)
    rule.headers = compile_tests(router, route.headers, patterns)
    rule.query = compile_tests(router, route.query, patterns)
    compile_client(router, rule, route.client, patterns)
    if route.path_match == PATH_REGEX:
        pattern = regex.compile(route.path)
        patterns.append(pattern)
        rule.pattern = <void*>pattern
        rule.pattern_length = <uint32_t>len(route.path)
        text_copy(&rule.literal, regex.literal_prefix(route.path), &router.arena)
    return rule


cdef int place_rule(router_t* router, host_t* host, uint8_t path_match, bytes path, rule_t* rule) except -1:
    cdef const char* data = path
    cdef size_t length = <size_t>len(path)
    cdef node_t* node = NULL
    cdef rule_list_t* rules = NULL
    if host != NULL:
        if path_match == PATH_REGEX:
            rules = &host.regexes
        else:
            if path_match == PATH_PREFIX and length and data[length - 1] == c'/':
                length -= 1
            node = tree_path(router, &host.root, data, length)
            if node != NULL:
                rules = &node.exact if path_match == PATH_EXACT else &node.prefix
    if rules == NULL or tree_add_rule(router, rules, rule) != 0:
        raise MemoryError
    return 0


@cython.final
cdef class RequestHead:
    def __cinit__(self, str method, str authority, str path, str query="", object headers=(), object client=None):
        cdef list parts = [method.encode(), authority.encode(), path.encode(), query.encode()]
        cdef uint32_t[4] offsets
        cdef uint32_t at = 0
        cdef Py_ssize_t i
        for i in range(4):
            offsets[i] = at
            at += <uint32_t>len(parts[i])
        self.head.method_id = METHOD_IDS.get(method, METHOD_OTHER)
        self.head.method_off, self.head.method_len = offsets[0], len(parts[0])
        self.head.authority_off, self.head.authority_len = offsets[1], len(parts[1])
        self.head.path_off, self.head.path_len = offsets[2], len(parts[2])
        self.head.query_off, self.head.query_len = offsets[3], len(parts[3])
        self.fields = <header_t*>calloc(<size_t>len(headers) + 1, sizeof(header_t))
        if self.fields == NULL:
            raise MemoryError
        for i, (name, value) in enumerate(headers):
            parts += [name.encode("latin-1"), value.encode("latin-1")]
            self.fields[i].name_off, self.fields[i].name_len = at, len(name)
            self.fields[i].value_off, self.fields[i].value_len = at + <uint32_t>len(name), len(value)
            at += <uint32_t>(len(name) + len(value))
        self.text = b"".join(parts)
        self.head.text = PyBytes_AS_STRING(self.text)
        self.head.text_len = at
        self.head.headers = self.fields
        self.head.count = self.head.capacity = <uint16_t>len(headers)
        self.identity_texts = [None if part is None else part.encode() for part in client or ()]
        for i, part in enumerate(self.identity_texts):
            if part is not None:
                self.identity.parts[i] = PyBytes_AS_STRING(part)
                self.identity.lengths[i] = <uint32_t>len(part)
        if client is not None:
            self.head.identity = &self.identity

    def __dealloc__(self):
        free(self.fields)


@cython.final
cdef class Router:
    def __cinit__(self, uint32_t listener_count):
        cdef bytes secret = os.urandom(16)
        cdef const uint64_t* words = <const uint64_t*>PyBytes_AS_STRING(secret)
        self.ptr = tree_new(listener_count, words[0], words[1])
        if self.ptr == NULL:
            raise MemoryError
        self.patterns = []

    def __dealloc__(self):
        tree_free(self.ptr)

    def add(self, object routes, int32_t first_index):
        cdef rule_t* rule
        cdef bytes path
        cdef bytes name
        cdef host_t* at
        if self.finished:
            raise ValueError("the router is finished: no route can be added")
        for index, route in enumerate(routes, first_index):
            rule = compile_rule(self.ptr, route, index, self.patterns)
            path = route.path.encode()
            if not path.startswith(b"/") and route.path_match == PATH_PREFIX:
                raise ValueError(f"route {route.name!r} has the prefix {route.path!r}, which does not begin with /")
            for listener_index in route.listener_indexes:
                if not 0 <= listener_index < self.ptr.listener_count:
                    raise ValueError(f"route {route.name!r} stands on listener {listener_index}, which is not there")
                for host in route.hosts or ("",):
                    name = host.encode()
                    at = tree_host(self.ptr, listener_index, name, <uint32_t>len(name))
                    place_rule(self.ptr, at, route.path_match, path, rule)

    def finish_step(self):
        self.finished = True
        return True

    def match(
        self, int64_t listener_index, str method, str authority, str path, str query="", object headers=(),
        object client=None,
    ):
        cdef RequestHead request = RequestHead(method, authority, path, query, headers, client)
        if not 0 <= listener_index < self.ptr.listener_count:
            raise ValueError(f"there is no listener {listener_index}")
        return router_match(self.ptr, <uint32_t>listener_index, &request.head)

    def match_heads(self, uint32_t listener_index, list heads):
        cdef RequestHead request
        cdef int64_t total = 0
        for request in heads:
            total += router_match(self.ptr, listener_index, &request.head)
        return total

    @staticmethod
    def live_nodes():
        return tree_live_nodes()


def normalise_host(authority: str) -> str:
    cdef bytes encoded = authority.encode()
    cdef char[HOST_MAX_BYTES] out
    cdef uint32_t length = host_normalise(<const char*>encoded, <size_t>len(encoded), out)
    return out[:length].decode()
