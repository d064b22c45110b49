"""The region that supervisor and workers share: how it is made, checked and read.

Every slot is an array of 64-bit words, so one loop sums any kind. The memory file is sparse, and to read a page of it
is to allocate that page; so readers first ask the file (SEEK_DATA) whether anybody wrote there.
"""

# What the readers return can be had from here too.
from fastmesh._core.shared_stats import EndpointStats, ListenerStats, SeriesStats, ServiceStats, WorkerStats  # no-cython-lint

cimport cython
from cpython.exc cimport PyErr_SetFromErrno
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.fcntl cimport fcntl
from posix.stat cimport fstat, struct_stat
from posix.types cimport off_t
from posix.unistd cimport close, ftruncate, lseek, pread, pwrite
from fastmesh._core.limiter cimport LIMITER_WAYS, limiter_slot_t
from fastmesh._core.shared_stats cimport endpoint_stats, listener_stats, series_stats, service_stats, worker_stats

cdef extern from "<unistd.h>" nogil:
    int SEEK_DATA

cdef extern from "<fcntl.h>" nogil:
    int F_ADD_SEALS
    int F_SEAL_SEAL
    int F_SEAL_SHRINK
    int F_SEAL_GROW

cdef extern from "<sys/mman.h>" nogil:
    int MFD_CLOEXEC
    int MFD_ALLOW_SEALING
    int memfd_create(const char* name, unsigned int flags)

cdef extern from "<sys/random.h>" nogil:
    ssize_t getrandom(void* buffer, size_t length, unsigned int flags)

cdef extern from *:
    """
    #define fastmesh_shared_load(word) __atomic_load_n((word), __ATOMIC_RELAXED)
    #define fastmesh_shared_add(word, amount) __atomic_fetch_add((word), (amount), __ATOMIC_RELEASE)
    """
    uint64_t load "fastmesh_shared_load" (const uint64_t* word) noexcept nogil
    uint64_t atomic_add "fastmesh_shared_add" (uint64_t* word, uint64_t amount) noexcept nogil

cdef struct header_t:                   # the first page; a cache line for what changes
    uint64_t magic
    uint64_t layout
    uint64_t workers
    uint64_t size
    uint64_t secret[2]
    uint64_t padding[2]
    uint64_t health_generation
    uint64_t limiter_evictions

cdef struct area_t:                     # where a worker keeps the slots of a kind
    size_t offset
    size_t stride
    size_t count
    size_t words                        # of a slot
    size_t gauge_first                  # its gauges are words gauge_first .. gauge_end - 1
    size_t gauge_end

cdef enum:
    KIND_WORKER = 0
    KIND_LISTENER
    KIND_SERVICE
    KIND_SERIES
    KIND_ENDPOINT
    KIND_COUNT
    WORDS_MAX = 200                     # of the largest slot
    WORKER_IDENTITY_END = 4             # pid, started_ns, heartbeat_ns, snapshot
    WORKER_GAUGES = 21
    WORKER_WORDS = 38
    ENDPOINT_EWMA = 6

cdef uint64_t MAGIC = 0x6873656D74736166   # "fastmesh"
cdef area_t AREAS[KIND_COUNT]
AREAS[KIND_WORKER] = area_t(0, SHARED_PAGE_BYTES, 1, WORKER_WORDS, WORKER_GAUGES, WORKER_WORDS)
AREAS[KIND_LISTENER] = area_t(SHARED_LISTENERS_AT, SHARED_LISTENER_STRIDE, SHARED_LISTENERS_MAX, 14, 2, 3)
AREAS[KIND_SERVICE] = area_t(SHARED_SERVICES_AT, SHARED_SERVICE_STRIDE, SHARED_SERVICES_MAX, 200, 199, 200)
AREAS[KIND_SERIES] = area_t(SHARED_SERIES_AT, SHARED_SERIES_STRIDE, SHARED_SERIES_MAX, 40, 40, 40)
AREAS[KIND_ENDPOINT] = area_t(SHARED_ENDPOINTS_AT, SHARED_ENDPOINT_STRIDE, SHARED_ENDPOINTS_MAX, 7, 3, 7)

WORKERS_MAX = SHARED_WORKERS_MAX
SERIES_MAX = SHARED_SERIES_MAX
SERVICES_MAX = SHARED_SERVICES_MAX
ENDPOINTS_MAX = SHARED_ENDPOINTS_MAX
LISTENERS_MAX = SHARED_LISTENERS_MAX
cdef dict KINDS = {
    "worker": KIND_WORKER, "listener": KIND_LISTENER, "service": KIND_SERVICE, "series": KIND_SERIES,
    "endpoint": KIND_ENDPOINT,
}


cdef uint64_t layout_hash() noexcept:
    """A number that changes when any size or place in the region does (FNV-1a over them)."""
    cdef size_t* sizes = [
        sizeof(header_t), sizeof(series_stats_t), sizeof(service_stats_t), sizeof(endpoint_stats_t),
        sizeof(listener_stats_t), sizeof(worker_stats_t), sizeof(limiter_slot_t), HISTOGRAM_BUCKETS,
        SHARED_LIMITER_SLOTS, SHARED_WORKERS_OFFSET, SHARED_LISTENERS_AT, SHARED_SERVICES_AT, SHARED_SERIES_AT,
        SHARED_ENDPOINTS_AT, SHARED_GRPC_AT, SHARED_AREA_BYTES, SHARED_REASONS_MAX, SHARED_LIVE_KINDS,
    ]
    cdef uint64_t found = <uint64_t>0xCBF29CE484222325
    cdef uint64_t prime = <uint64_t>0x100000001B3
    cdef int place
    for place in range(18):
        found = (found ^ sizes[place]) * prime
    return found


cdef int kind_of(kind) except -1:
    found = KINDS.get(kind)
    if found is None:
        raise ValueError(f"no kind of slots is called {kind!r}")
    return found


cdef int check_id(int kind, size_t slot_id) except -1:
    if slot_id >= AREAS[kind].count:
        raise IndexError(f"id {slot_id} is not below {AREAS[kind].count}")
    return 0


@cython.final
cdef class SharedMemory:
    def __cinit__(self, int fd):
        cdef header_t header
        cdef struct_stat status
        self.fd = -1
        memset(&header, 0, sizeof(header_t))
        if pread(fd, &header, sizeof(header_t), 0) < 0 or fstat(fd, &status) != 0:
            PyErr_SetFromErrno(OSError)
        if header.magic != MAGIC or header.layout != layout_hash() or header.size != <uint64_t>status.st_size:
            raise ValueError("the shared memory was made by another build of fastmesh: stop all of its processes first")
        map_region(self, fd, header.size, <uint32_t>header.workers)
        self.fd = fd

    def __dealloc__(self):
        if self.view.base != NULL:
            munmap(self.view.base, self.view.size)
        if self.fd >= 0:
            close(self.fd)
        free(self.written)

    @staticmethod
    def create(size_t workers):
        cdef int fd
        if not 1 <= workers <= SHARED_WORKERS_MAX:
            raise ValueError(f"shared memory for {workers} workers: there can be 1 to {SHARED_WORKERS_MAX}")
        fd = memfd_create(b"fastmesh", MFD_CLOEXEC | MFD_ALLOW_SEALING)
        if fd < 0:
            PyErr_SetFromErrno(OSError)
        try:
            write_header(fd, workers)
            return SharedMemory(fd)
        except BaseException:
            close(fd)
            raise

    @staticmethod
    def attach(int fd):
        return SharedMemory(fd)

    @property
    def worker_count(self):
        return self.view.workers

    @property
    def resident_bytes(self):
        cdef struct_stat status
        if fstat(self.fd, &status) != 0:
            PyErr_SetFromErrno(OSError)
        return status.st_blocks * 512

    def series(self, size_t series_id):
        cdef uint64_t total[WORDS_MAX]
        self.sum_words(KIND_SERIES, series_id, total)
        return series_stats(total)

    def service(self, size_t service_id):
        cdef uint64_t total[WORDS_MAX]
        self.sum_words(KIND_SERVICE, service_id, total)
        return service_stats(total)

    def endpoint(self, size_t endpoint_id):
        cdef uint64_t total[WORDS_MAX]
        cdef uint64_t estimates = 0
        cdef uint32_t worker
        self.sum_words(KIND_ENDPOINT, endpoint_id, total)
        if total[ENDPOINT_EWMA] != 0:
            for worker in range(self.view.workers):
                estimates += load(&shared_endpoint(&self.view, worker, <uint32_t>endpoint_id).ewma_us) != 0
            total[ENDPOINT_EWMA] //= estimates if estimates != 0 else 1
        return endpoint_stats(total)

    def endpoints(self, endpoint_ids):
        cdef uint64_t total[WORDS_MAX]
        cdef uint64_t one[WORDS_MAX]
        cdef size_t place
        memset(total, 0, sizeof(total))
        for endpoint_id in endpoint_ids:
            if self.sum_words(KIND_ENDPOINT, endpoint_id, one):
                for place in range(6):
                    total[place] += one[place]
        return endpoint_stats(total)

    def listener(self, size_t listener_id):
        cdef uint64_t total[WORDS_MAX]
        self.sum_words(KIND_LISTENER, listener_id, total)
        return listener_stats(total)

    def workers(self):
        cdef uint32_t worker
        return [
            worker_stats(worker, <uint64_t*>shared_worker(&self.view, worker)) for worker in range(self.view.workers)
        ]

    def used(self, str kind, ids):
        cdef uint64_t total[WORDS_MAX]
        cdef int number = kind_of(kind)
        found = []
        for slot_id in ids:
            if self.sum_words(number, slot_id, total):
                found.append(slot_id)
        return found

    def limiter_evictions(self):
        cdef uint64_t total = load(&(<header_t*>self.view.base).limiter_evictions)
        cdef uint32_t worker
        for worker in range(self.view.workers):
            total += load(&shared_worker(&self.view, worker).limiter_evictions)
        return total

    def is_healthy(self, size_t endpoint_id):
        check_id(KIND_ENDPOINT, endpoint_id)
        return self.view.health[endpoint_id] == 0

    def set_health(self, size_t endpoint_id, bint healthy):
        check_id(KIND_ENDPOINT, endpoint_id)
        self.view.health[endpoint_id] = not healthy

    def bump_health(self):
        atomic_add(self.view.health_generation, 1)

    def clear_gauges(self, size_t worker):
        cdef uint64_t* first
        cdef int kind
        self.check_worker(worker)
        first = <uint64_t*>shared_worker(&self.view, <uint32_t>worker)
        memset(first, 0, WORKER_IDENTITY_END * sizeof(uint64_t))
        memset(first + WORKER_GAUGES, 0, (WORKER_WORDS - WORKER_GAUGES) * sizeof(uint64_t))
        for kind in range(KIND_LISTENER, KIND_COUNT):
            if AREAS[kind].gauge_first < AREAS[kind].gauge_end:
                clear_area(self, worker, &AREAS[kind])

    def reset_id(self, str kind, size_t id):
        cdef int number = kind_of(kind)
        cdef size_t worker, offset
        if number == KIND_WORKER:
            raise ValueError("a worker's slot has no id")
        check_id(number, id)
        for worker in range(self.view.workers):
            offset = slot_offset(worker, number, id)
            if self.has_data(offset, AREAS[number].words * sizeof(uint64_t)):
                memset(self.view.base + offset, 0, AREAS[number].words * sizeof(uint64_t))
        if number == KIND_ENDPOINT and self.view.health[id] != 0:
            self.view.health[id] = 0
            self.bump_health()

    def add(self, str kind, size_t worker, size_t id, size_t word, int64_t amount):
        cdef int number = kind_of(kind)
        self.check_worker(worker)
        id = 0 if number == KIND_WORKER else id
        check_id(number, id)
        if word >= AREAS[number].words:
            raise IndexError(f"a {kind} slot has {AREAS[number].words} words")
        atomic_add(<uint64_t*>(self.view.base + slot_offset(worker, number, id)) + word, <uint64_t>amount)

    cdef int check_worker(self, size_t worker) except -1:
        if worker >= self.view.workers:
            raise IndexError(f"worker {worker} of {self.view.workers}")
        return 0

    cdef bint has_data(self, size_t offset, size_t length) noexcept:
        """Whether any of the pages there was ever written."""
        cdef size_t page = offset // SHARED_PAGE_BYTES
        while page * SHARED_PAGE_BYTES < offset + length:
            if self.written[page]:
                return True
            if lseek(self.fd, <off_t>(page * SHARED_PAGE_BYTES), SEEK_DATA) == <off_t>(page * SHARED_PAGE_BYTES):
                self.written[page] = 1
                return True
            page += 1
        return False

    cdef int sum_words(self, int kind, size_t id, uint64_t* total) except -1:
        """Word by word, over the workers, into `total` (WORDS_MAX); whether any is not 0."""
        cdef size_t count = AREAS[kind].words
        cdef size_t worker, place, offset
        cdef const uint64_t* first
        cdef uint64_t word, any_of = 0
        check_id(kind, id)
        memset(total, 0, count * sizeof(uint64_t))
        for worker in range(self.view.workers):
            offset = slot_offset(worker, kind, id)
            if not self.has_data(offset, count * sizeof(uint64_t)):
                continue
            first = <const uint64_t*>(self.view.base + offset)
            for place in range(count):
                word = load(&first[place])
                any_of |= word
                total[place] += word
        return any_of != 0


cdef size_t slot_offset(size_t worker, int kind, size_t slot_id) noexcept:
    return SHARED_WORKERS_OFFSET + worker * SHARED_AREA_BYTES + AREAS[kind].offset + slot_id * AREAS[kind].stride


cdef int clear_area(SharedMemory shared, size_t worker, const area_t* area) except -1:
    """Zero the gauges of every slot that lies on a page with data."""
    cdef size_t begin = SHARED_WORKERS_OFFSET + worker * SHARED_AREA_BYTES + area.offset
    cdef size_t end = begin + area.count * area.stride
    cdef size_t place = begin
    cdef size_t slot, last, word
    cdef uint64_t* first
    cdef off_t data
    while place < end:
        data = lseek(shared.fd, <off_t>place, SEEK_DATA)
        if data < 0 or <size_t>data >= end:
            break
        last = (<size_t>data + SHARED_PAGE_BYTES - 1 - begin) // area.stride
        for slot in range((<size_t>data - begin) // area.stride, min(last + 1, area.count)):
            first = <uint64_t*>(shared.view.base + begin + slot * area.stride)
            for word in range(area.gauge_first, area.gauge_end):
                if first[word] != 0:
                    first[word] = 0
        place = <size_t>data + SHARED_PAGE_BYTES
    return 0


cdef int write_header(int fd, size_t workers) except -1:
    """Give a new file its size, for good, and its header."""
    cdef header_t header
    memset(&header, 0, sizeof(header_t))
    header.magic = MAGIC
    header.layout = layout_hash()
    header.workers = workers
    header.size = SHARED_WORKERS_OFFSET + workers * <size_t>SHARED_AREA_BYTES
    if (
        getrandom(header.secret, sizeof(header.secret), 0) != sizeof(header.secret)
        or ftruncate(fd, <off_t>header.size) != 0
        or fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0
        or pwrite(fd, &header, sizeof(header_t), 0) != sizeof(header_t)
    ):
        PyErr_SetFromErrno(OSError)
    return 0


cdef int map_region(SharedMemory shared, int fd, size_t size, uint32_t workers) except -1:
    """Map the whole file."""
    cdef header_t* header
    cdef void* base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
    if base == MAP_FAILED:
        PyErr_SetFromErrno(OSError)
    header = <header_t*>base
    shared.view.base = <char*>base
    shared.view.size = size
    shared.view.workers = workers
    shared.view.secret = header.secret
    shared.view.health_generation = &header.health_generation
    shared.view.health = <uint8_t*>base + SHARED_HEALTH_OFFSET
    shared.view.limiter.slots = <limiter_slot_t*>(shared.view.base + SHARED_LIMITER_OFFSET)
    shared.view.limiter.set_mask = SHARED_LIMITER_SLOTS // LIMITER_WAYS - 1
    shared.view.limiter.evictions = &header.limiter_evictions
    shared.written = <uint8_t*>calloc(size // SHARED_PAGE_BYTES, 1)
    if shared.written == NULL:
        raise MemoryError()
    return 0
