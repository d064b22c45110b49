"""A snapshot compiled for one worker: names become pointers, lists become arrays. Done a slice at a time.

Live state is not in here: endpoints with their pools are found again by id, counters and buckets lie in shared memory.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, strcmp

from fastmesh._core.access_log cimport AccessFormat
from fastmesh._core.balancer cimport load_t, subset_free, subset_new, subset_t
from fastmesh._core.limiter cimport limit_make
from fastmesh._core.live cimport (
    LIVE_TABLES,
    destination_t,
    endpoint_t,
    key_t,
    limit_entry_t,
    listener_entry_t,
    route_entry_t,
    series_stats_t,
    service_entry_t,
    tcp_route_t,
    tls_listener_t,
    tls_name_t,
    tls_service_t,
)
from fastmesh._core.networks cimport networks_new
from fastmesh._core.pool cimport endpoint_hold, endpoint_new, endpoint_release
from fastmesh._core.router cimport Router
from fastmesh._core.shared cimport SHARED_ENDPOINTS_MAX, shared_series, shared_service
from fastmesh._core.sockets cimport CLOCK_MONOTONIC, clock_ns
from fastmesh._core.tls cimport tls_prepare_listener, tls_start_up

cimport cython

cdef enum:
    SLICE_NS = 500000
    ROUTER_SLICE = 64                   # routes handed to the router at a time

from fastmesh._core.access_log import AccessFormat as make_access_format
from fastmesh._core.router import Router as make_router


cdef void* allocate(size_t count, size_t size) except NULL:
    cdef void* memory = calloc(count if count else 1, size)
    if memory == NULL:
        raise MemoryError()
    return memory


cdef Tables tables_begin(object owner, worker_t* worker, object snapshot, object credentials):
    cdef Tables tables = Tables.__new__(Tables)
    tables.owner = owner
    tables.worker = worker
    tables.snapshot = snapshot
    tables.texts = []
    tables.credentials = credentials
    if credentials is not None:
        tls_start_up(worker, credentials.identify)
    tables.ptr = <tables_t*>allocate(1, sizeof(tables_t))
    worker.stats.live[LIVE_TABLES] += 1
    tables.work = tables.compile()
    worker.is_compiling += 1
    return tables


@cython.final
@cython.no_gc_clear                     # __dealloc__ needs the owner's memory
cdef class Tables:
    """See engine.pyi."""

    def __dealloc__(self):
        cdef uint32_t i
        if self.ptr == NULL:
            return
        if self.work is not None:
            self.worker.is_compiling -= 1
        for i in range(self.ptr.service_count):
            self.release_endpoints(i)
            free(self.ptr.services[i].subsets)
            free(self.ptr.services[i].tls)
        for i in range(self.ptr.route_count):
            self.release_route(&self.ptr.routes[i])
        for i in range(self.ptr.listener_count):
            self.release_listener(i)
        free(self.ptr.services)
        free(self.ptr.routes)
        free(self.ptr.listeners)
        free(self.ptr.limits)
        free(self.ptr)
        self.worker.stats.live[LIVE_TABLES] -= 1

    @property
    def is_complete(self):
        return self.work is None

    def step(self):
        cdef uint64_t until = clock_ns(CLOCK_MONOTONIC) + SLICE_NS
        if self.work is None:
            return True
        for _ in self.work:
            if clock_ns(CLOCK_MONOTONIC) >= until:
                return False
        self.work = None
        self.worker.is_compiling -= 1
        return True

    def compile(self):
        """Yields after each small piece of work."""
        cdef uint32_t i
        cdef uint32_t count
        if self.credentials is None and uses_tls(self.snapshot):
            raise ValueError("the snapshot uses TLS, and there are no credentials for it")
        self.build_limits()
        count = len(self.snapshot.listeners)
        self.ptr.listeners = <listener_entry_t*>allocate(count, sizeof(listener_entry_t))
        self.ptr.listener_count = count
        for i in range(count):
            self.build_listener(i)
        yield
        count = len(self.snapshot.services)
        self.ptr.services = <service_entry_t*>allocate(count, sizeof(service_entry_t))
        for i in range(count):
            self.ptr.service_count = i + 1
            self.build_service(i)
            yield
        for i in range(self.ptr.listener_count):
            self.build_tcp_routes(i)
        yield
        count = len(self.snapshot.routes)
        self.ptr.routes = <route_entry_t*>allocate(count, sizeof(route_entry_t))
        for i in range(count):
            self.ptr.route_count = i + 1
            self.build_route(i)
            yield
        self.router = make_router(len(self.snapshot.listeners))
        for i in range(0, count, ROUTER_SLICE):
            self.router.add(self.snapshot.routes[i:i + ROUTER_SLICE], i)
            yield
        while not self.router.finish_step():
            yield
        self.ptr.router = (<Router>self.router).ptr

    cdef char* text(self, str value) except NULL:
        """Zero-terminated, as long as the tables live."""
        cdef bytes encoded = value.encode()
        self.texts.append(encoded)
        return <char*>encoded

    cdef int build_limits(self) except -1:
        cdef limit_entry_t* entry
        cdef int i
        self.ptr.limits = <limit_entry_t*>allocate(len(self.snapshot.limits), sizeof(limit_entry_t))
        for i, limit in enumerate(self.snapshot.limits):
            entry = &self.ptr.limits[i]
            entry.limit = limit_make(limit.id, limit.period_ns, limit.burst_tokens)
            fill_key(self, &entry.key, limit.key)
        log = self.snapshot.access_log
        if log.enabled:
            self.log_format = make_access_format(log.template)
            self.ptr.log_format = (<AccessFormat>self.log_format).ptr
            self.ptr.log_threshold = min(log.sample_ppm * 2**64 // 1000000, 2**64 - 1)
        return 0

    cdef int build_listener(self, uint32_t index) except -1:
        cdef listener_entry_t* entry = &self.ptr.listeners[index]
        listener = self.snapshot.listeners[index]
        entry.id = listener.id
        entry.index = index
        entry.name = self.text(listener.name)
        entry.limits.start_line_max_bytes = listener.request_line_max_bytes
        entry.limits.head_max_bytes = listener.head_max_bytes
        entry.limits.header_max_count = listener.header_max_count
        entry.body_max_bytes = listener.body_max_bytes
        entry.connections_max = listener.connections_max
        entry.connection_requests_max = listener.connection_requests_max
        entry.head_timeout_ms = listener.head_timeout_ms
        entry.idle_timeout_ms = listener.idle_timeout_ms
        entry.trusted_hops = listener.trusted_hops
        if listener.via:
            entry.via = self.text(listener.via)
            entry.via_len = len(listener.via)
        if listener.limit_index >= 0:
            entry.limit = &self.ptr.limits[<uint32_t>listener.limit_index]
        entry.unrouted = shared_series(self.worker.shared, self.worker.slot, listener.unrouted_series_id)
        entry.protocol = listener.protocol
        entry.detect_timeout_ms = listener.detect_timeout_ms
        entry.streams_max = listener.streams_max
        entry.connection_age_max_ms = listener.connection_age_max_ms
        entry.tcp_idle_timeout_ms = listener.tcp_idle_timeout_ms
        entry.proxy_networks = networks_new(listener.proxy_protocol_from)
        entry.proxy_network_count = len(listener.proxy_protocol_from)
        if listener.tls is not None:
            self.build_listener_tls(index)
        return 0

    cdef int build_listener_tls(self, uint32_t index) except -1:
        cdef tls_listener_t* tls = <tls_listener_t*>allocate(1, sizeof(tls_listener_t))
        cdef size_t address
        self.ptr.listeners[index].tls = tls
        settings = self.snapshot.listeners[index].tls
        default_ctx, by_name = self.credentials.listener(index)
        address = default_ctx
        tls.ssl_ctx = <void*>address
        tls_prepare_listener(tls.ssl_ctx)
        tls.names = <tls_name_t*>allocate(len(by_name), sizeof(tls_name_t))
        for name, ssl_ctx in by_name:
            address = ssl_ctx
            tls.names[tls.name_count] = tls_name_t(self.text(name), <void*>address)
            tls.name_count += 1
        alpn = b"".join([bytes([len(name)]) + name.encode() for name in settings.alpn])
        if len(alpn) > sizeof(tls.alpn):
            raise ValueError(f"listener {self.snapshot.listeners[index].name}: too many protocols")
        tls.alpn_len = len(alpn)
        memcpy(tls.alpn, <const char*>alpn, len(alpn))
        tls.client_certificate = settings.client_certificate
        tls.is_optional = settings.is_optional
        tls.forwards_client_certificate = settings.forwards_client_certificate
        tls.handshake_timeout_ms = settings.handshake_timeout_ms
        return 0

    cdef int build_tcp_routes(self, uint32_t index) except -1:
        cdef listener_entry_t* entry = &self.ptr.listeners[index]
        cdef tcp_route_t* one
        cdef uint32_t i, j
        routes = self.snapshot.listeners[index].tcp_routes
        entry.tcp_routes = <tcp_route_t*>allocate(len(routes), sizeof(tcp_route_t))
        for i, route in enumerate(routes):
            one = &entry.tcp_routes[i]
            entry.tcp_route_count = i + 1
            one.route = <route_entry_t*>allocate(1, sizeof(route_entry_t))
            self.build_arms(one.route, route.name, (index,), route.destinations)
            one.sni = <const char**>allocate(len(route.sni), sizeof(char*))
            for j, name in enumerate(route.sni):
                one.sni[j] = self.text(name)
                one.sni_count = j + 1
        return 0

    cdef int build_service(self, uint32_t index) except -1:
        cdef service_entry_t* entry = &self.ptr.services[index]
        service = self.snapshot.services[index]
        entry.id = service.id
        entry.name = self.text(service.name)
        entry.balance = service.balance
        entry.panic_percent = service.panic_percent
        fill_key(self, &entry.hash_key, service.hash_key)
        entry.connect_timeout_ms = service.connect_timeout_ms
        entry.request_timeout_ms = service.request_timeout_ms
        entry.idle_timeout_ms = service.idle_timeout_ms
        entry.pool_connections_max = service.pool_connections_max
        entry.pool_idle_timeout_ms = service.pool_idle_timeout_ms
        entry.pool_age_max_ms = service.pool_age_max_ms
        entry.protocol = service.protocol
        entry.proxy_protocol_version = service.proxy_protocol_version
        entry.streams_max = service.streams_max
        if service.tls is not None:
            self.build_service_tls(index)
        if service.limit_index >= 0:
            entry.limit = &self.ptr.limits[<uint32_t>service.limit_index]
        entry.stats = shared_service(self.worker.shared, self.worker.slot, service.id)
        entry.subset_count = len(service.subsets)
        entry.subsets = <subset_t**>allocate(entry.subset_count, sizeof(subset_t*))
        self.set_endpoints(index, service.endpoints)
        return 0

    cdef int build_service_tls(self, uint32_t index) except -1:
        cdef tls_service_t* tls = <tls_service_t*>allocate(1, sizeof(tls_service_t))
        cdef size_t address
        self.ptr.services[index].tls = tls
        settings = self.snapshot.services[index].tls
        ssl_ctx, tls.settings = self.credentials.service(index)
        address = ssl_ctx
        tls.ssl_ctx = <void*>address
        tls.verifies = settings.verifies
        tls.server_name = self.text(settings.server_name)
        tls.spiffe_ids = self.text("".join([spiffe_id + "\0" for spiffe_id in settings.spiffe_ids]))
        tls.spiffe_ids_len = len(self.texts[len(self.texts) - 1])
        return 0

    cdef int build_route(self, uint32_t index) except -1:
        cdef route_entry_t* entry = &self.ptr.routes[index]
        route = self.snapshot.routes[index]
        self.build_arms(entry, route.name, route.listener_indexes, route.destinations)
        if route.limit_index >= 0:
            entry.limit = &self.ptr.limits[<uint32_t>route.limit_index]
        entry.allows_connect = route.allows_connect
        return 0

    cdef int build_arms(self, route_entry_t* entry, str name, tuple listener_indexes, tuple arms) except -1:
        """What HTTP and TCP routes have in common: where they stand, and where they lead."""
        cdef destination_t* destination
        cdef uint32_t i, j
        entry.name = self.text(name)
        entry.listener_count = len(listener_indexes)
        entry.listener_indexes = <uint32_t*>allocate(entry.listener_count, sizeof(uint32_t))
        for i in range(entry.listener_count):
            entry.listener_indexes[i] = listener_indexes[i]
        entry.destinations = <destination_t*>allocate(len(arms), sizeof(destination_t))
        for i in range(len(arms)):
            arm = arms[i]
            destination = &entry.destinations[i]
            entry.destination_count = i + 1
            if not arm.service_index < self.ptr.service_count:
                raise ValueError(f"route {name}: no service {arm.service_index}")
            destination.service = &self.ptr.services[<uint32_t>arm.service_index]
            if not arm.subset_index < destination.service.subset_count:
                raise ValueError(f"route {name}: no subset {arm.subset_index}")
            destination.subset_index = arm.subset_index
            destination.weight = arm.weight
            entry.weight_sum += arm.weight
            destination.series = <series_stats_t**>allocate(entry.listener_count, sizeof(series_stats_t*))
            for j in range(entry.listener_count):
                destination.series[j] = shared_series(self.worker.shared, self.worker.slot, arm.series_ids[j])
        return 0

    cdef int release_route(self, route_entry_t* entry) except -1:
        cdef uint32_t i
        for i in range(entry.destination_count):
            free(entry.destinations[i].series)
        free(entry.destinations)
        free(entry.listener_indexes)
        return 0

    cdef int release_listener(self, uint32_t index) except -1:
        cdef listener_entry_t* entry = &self.ptr.listeners[index]
        cdef uint32_t i
        for i in range(entry.tcp_route_count):
            if entry.tcp_routes[i].route != NULL:
                self.release_route(entry.tcp_routes[i].route)
            free(entry.tcp_routes[i].route)
            free(entry.tcp_routes[i].sni)
        if entry.tls != NULL:
            free(entry.tls.names)
        free(entry.tls)
        free(entry.tcp_routes)
        free(entry.proxy_networks)
        return 0

    cdef int set_endpoints(self, uint32_t index, tuple endpoints) except -1:
        """Endpoints and subsets of a service; what was there before has been released."""
        cdef service_entry_t* entry = &self.ptr.services[index]
        cdef uint32_t count = len(endpoints)
        cdef uint32_t i, chosen
        cdef load_t** loads
        entry.endpoints = <endpoint_t**>allocate(count, sizeof(endpoint_t*))
        for i in range(count):
            entry.endpoints[i] = find_endpoint(self.worker, endpoints[i])
            entry.endpoint_count = i + 1
            entry.endpoints[i].service_stats = entry.stats
            entry.endpoints[i].load.weight = endpoints[i].weight
        loads = <load_t**>allocate(count, sizeof(load_t*))
        for i, labels in enumerate(self.snapshot.services[index].subsets):
            chosen = 0
            for j, endpoint in enumerate(endpoints):
                if all(label in endpoint.labels for label in labels):
                    loads[chosen] = &entry.endpoints[<uint32_t>j].load
                    chosen += 1
            entry.subsets[i] = subset_new(entry.balance, loads, chosen, entry.panic_percent)
        free(loads)
        return 0

    cdef int replace_endpoints(self, uint32_t index, tuple endpoints) except -1:
        """Discovery: the new ones first, so that those that stay keep their pools."""
        cdef service_entry_t* entry = &self.ptr.services[index]
        cdef endpoint_t** old = entry.endpoints
        cdef uint32_t old_count = entry.endpoint_count
        cdef uint32_t i
        for i in range(entry.subset_count):
            if entry.subsets[i] != NULL:
                subset_free(entry.subsets[i])
                entry.subsets[i] = NULL
        entry.endpoint_count = 0
        try:
            self.set_endpoints(index, endpoints)
        finally:
            for i in range(old_count):
                endpoint_release(self.worker, old[i])
            free(old)
        return 0

    cdef int release_endpoints(self, uint32_t index) except -1:
        cdef service_entry_t* entry = &self.ptr.services[index]
        cdef uint32_t i
        if entry.subsets != NULL:
            for i in range(entry.subset_count):
                if entry.subsets[i] != NULL:
                    subset_free(entry.subsets[i])
                    entry.subsets[i] = NULL
        for i in range(entry.endpoint_count):
            endpoint_release(self.worker, entry.endpoints[i])
        entry.endpoint_count = 0
        free(entry.endpoints)
        entry.endpoints = NULL
        return 0


cdef bint uses_tls(object snapshot) except *:
    return any([one.tls is not None for one in snapshot.listeners + snapshot.services])


cdef int fill_key(Tables tables, key_t* target, object key) except -1:
    target.source = key.source
    target.name = tables.text(key.name)
    target.name_len = len(tables.texts[len(tables.texts) - 1])
    return 0


cdef endpoint_t* find_endpoint(worker_t* worker, object endpoint) except NULL:
    """The live endpoint of this id and address, with a reference for the caller; a new one if there is none."""
    cdef uint32_t endpoint_id = endpoint.id if endpoint.id < SHARED_ENDPOINTS_MAX else 0
    cdef bytes host = endpoint.host.encode()
    cdef endpoint_t* made = endpoint_new(worker, endpoint_id, host, endpoint.port)
    cdef endpoint_t* found = worker.endpoints[endpoint_id]
    if made == NULL:
        raise ValueError(f"not an IP address: {endpoint.host}")
    if endpoint_id == 0:
        return made
    if found != NULL and strcmp(found.text, made.text) == 0:
        endpoint_release(worker, made)
        endpoint_hold(found)
        return found
    worker.endpoints[endpoint_id] = made
    return made
