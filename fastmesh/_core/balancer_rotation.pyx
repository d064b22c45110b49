"""round_robin. Few endpoints: nginx's smooth weighted algorithm. Many: each has its own period, a heap finds the next.

nginx's: at each pick every current weight grows by the weight, the largest is picked and pays the total. The heap is
earliest deadline first: endpoint i comes up each STEP / weight of a virtual time that only the picks move.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from fastmesh._core.hashing cimport random_below

cdef enum:
    STEP_BITS = 40              # virtual time between two turns of weight 1; wraps around, so only differences count


cdef int rotation_new(subset_t* subset) noexcept nogil:
    if subset.count <= ROTATION_SCAN_MAX:
        subset.rotation.current = <int64_t*>calloc(subset.count + 1, sizeof(int64_t))
        return 0 if subset.rotation.current != NULL else -1
    subset.rotation.due = <uint64_t*>calloc(subset.count, sizeof(uint64_t))
    subset.rotation.heap = <uint32_t*>calloc(subset.count, sizeof(uint32_t))
    return 0 if subset.rotation.due != NULL and subset.rotation.heap != NULL else -1


cdef void rotation_free(subset_t* subset) noexcept nogil:
    free(subset.rotation.current)
    free(subset.rotation.due)
    free(subset.rotation.heap)


cdef inline uint64_t step(const subset_t* subset, uint32_t position) noexcept nogil:
    return (<uint64_t>1 << STEP_BITS) // subset.weights[position]


cdef inline bint due_before(const uint64_t* due, uint32_t a, uint32_t b) noexcept nogil:
    if due[a] == due[b]:
        return a < b
    return <int64_t>(due[a] - due[b]) < 0


cdef void sift_down(const uint64_t* due, uint32_t* heap, uint32_t count, uint32_t at) noexcept nogil:
    cdef uint32_t moving = heap[at]
    cdef uint32_t child = 2 * at + 1
    while child < count:
        if child + 1 < count and due_before(due, heap[child + 1], heap[child]):
            child += 1
        if not due_before(due, heap[child], moving):
            break
        heap[at] = heap[child]
        at = child
        child = 2 * at + 1
    heap[at] = moving


cdef void rotation_admit(subset_t* subset, uint32_t position, uint64_t* random) noexcept nogil:
    if subset.rotation.current != NULL:
        subset.rotation.current[position] = 0
    else:
        subset.rotation.due[position] = subset.rotation.now + random_below(random, step(subset, position))


cdef void rotation_ready(subset_t* subset, uint64_t* random) noexcept nogil:
    cdef uint32_t i, _i
    if subset.rotation.current == NULL:
        for i in range(subset.available_count):
            subset.rotation.heap[i] = subset.available[i]
        for i in range(subset.available_count // 2, 0, -1):
            sift_down(subset.rotation.due, subset.rotation.heap, subset.available_count, i - 1)
    elif not subset.rotation.started and subset.available_count:
        for _i in range(<uint32_t>random_below(random, subset.available_count)):
            rotation_pick(subset, NULL)
    subset.rotation.started = True


cdef uint32_t scan_pick(subset_t* subset, const load_t* avoid) noexcept nogil:
    # Who is avoided stands aside for this pick: it neither gains nor pays, or it would come up in a burst later.
    cdef int64_t* current = subset.rotation.current
    cdef int64_t total = 0
    cdef uint32_t best = subset.available[0]
    cdef bint found = False
    cdef uint32_t position
    cdef uint32_t i
    for i in range(subset.available_count):
        position = subset.available[i]
        if subset.loads[position] == avoid and subset.available_count > 1:
            continue
        current[position] += subset.weights[position]
        total += subset.weights[position]
        if not found or current[position] > current[best]:
            best = position
            found = True
    current[best] -= total
    return best


cdef uint32_t heap_pick(subset_t* subset, const load_t* avoid) noexcept nogil:
    cdef uint32_t* heap = subset.rotation.heap
    cdef uint64_t* due = subset.rotation.due
    cdef uint32_t at = 0
    cdef uint32_t position
    if subset.loads[heap[0]] == avoid and subset.available_count > 1:
        at = 1
        if subset.available_count > 2 and due_before(due, heap[2], heap[1]):
            at = 2
    position = heap[at]
    subset.rotation.now = due[position]
    due[position] += step(subset, position)
    sift_down(due, heap, subset.available_count, at)
    if at:
        # Who is avoided saves up no turns, or they would all come at once later.
        due[heap[0]] = subset.rotation.now
        sift_down(due, heap, subset.available_count, 0)
    return position


cdef uint32_t rotation_pick(subset_t* subset, const load_t* avoid) noexcept nogil:
    if subset.rotation.current != NULL:
        return scan_pick(subset, avoid)
    return heap_pick(subset, avoid)
