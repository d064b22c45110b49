"""What a process asks of the kernel about itself and the standard library does not offer."""

from cpython.exc cimport PyErr_SetFromErrno

cdef extern from "<sys/prctl.h>" nogil:
    enum:
        PR_SET_PDEATHSIG
    int prctl(int option, ...)

cdef extern from "<malloc.h>" nogil:
    int malloc_trim(size_t pad)


def die_with_parent(int signal) -> None:
    if prctl(PR_SET_PDEATHSIG, <unsigned long>signal, 0UL, 0UL, 0UL) < 0:
        PyErr_SetFromErrno(OSError)


def release_memory() -> None:
    malloc_trim(0)
