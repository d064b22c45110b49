"""Token buckets as GCRA (ITU-T I.371): all of a bucket's state is one 64-bit time, so a compare-and-swap is the bucket.

The table lies in memory shared by all workers; it is set-associative and of fixed size, so invented keys can only push
out each other: a bucket whose time has passed is full, and thus the same as none; it goes first.
"""

from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    LIMITER_WAYS = 8                    # slots in a set: two cache lines

cdef struct limiter_slot_t:             # 16 bytes
    uint64_t key                        # 0: free
    uint64_t arrival_ns                 # theoretical arrival time, CLOCK_MONOTONIC

cdef struct limiter_table_t:
    limiter_slot_t* slots               # aligned to a cache line
    uint64_t set_mask                   # number of sets - 1
    uint64_t* evictions                 # counts buckets pushed out before they were full; atomic; never NULL

cdef struct limit_t:
    uint64_t id                         # stable: mixed into the key
    uint64_t period_ns                  # one token each, not 0
    uint64_t tolerance_ns               # (burst_tokens - 1) * period_ns


# A limit whose product does not overflow: the longest tolerance is 73 years.
cdef inline limit_t limit_make(uint64_t limit_id, uint64_t period_ns, uint64_t burst_tokens) noexcept nogil:
    cdef uint64_t longest_ns = <uint64_t>1 << 61
    cdef limit_t limit
    limit.id = limit_id
    limit.period_ns = period_ns if period_ns < longest_ns else longest_ns
    if burst_tokens - 1 > longest_ns // limit.period_ns:
        limit.tolerance_ns = longest_ns
    else:
        limit.tolerance_ns = (burst_tokens - 1) * limit.period_ns
    return limit

# 0: allowed, a token is taken; else the ns until there will be one. Lock-free, exact across processes. `key_hash` must
# be the same in all workers, and keyed by a secret (shared_t.secret), or a stranger can choose whom to push out.
cdef uint64_t limiter_take(
    limiter_table_t* table, const limit_t* limit, uint64_t key_hash, uint64_t now_ns
) noexcept nogil

cdef class LimiterTable:
    cdef limiter_table_t table
    cdef void* memory                   # mapped, owned
    cdef size_t size
