"""What a process asks of the kernel and the standard library does not offer."""

from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport errno
from posix.unistd cimport close

cdef extern from "<sys/prctl.h>" nogil:
    enum:
        PR_SET_PDEATHSIG
    int prctl(int option, ...)

cdef extern from "<malloc.h>" nogil:
    int malloc_trim(size_t pad)

cdef extern from "<sys/inotify.h>" nogil:
    enum:
        IN_CLOEXEC
        IN_NONBLOCK
        IN_ATTRIB
        IN_CLOSE_WRITE
        IN_CREATE
        IN_DELETE
        IN_DELETE_SELF
        IN_MODIFY
        IN_MOVE
        IN_MOVE_SELF
        IN_ONLYDIR
    int inotify_init1(int flags)
    int inotify_add_watch(int fd, const char* path, unsigned int mask)

cdef unsigned int WATCHED = (
    IN_ATTRIB | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_DELETE_SELF
    | IN_MODIFY | IN_MOVE | IN_MOVE_SELF | IN_ONLYDIR
)


def die_with_parent(int signal):
    if prctl(PR_SET_PDEATHSIG, <unsigned long>signal, 0UL, 0UL, 0UL) < 0:
        PyErr_SetFromErrno(OSError)


def release_memory():
    malloc_trim(0)


def watch_directory(bytes path):
    cdef int error
    cdef int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)
    if fd < 0:
        PyErr_SetFromErrno(OSError)
    if inotify_add_watch(fd, path, WATCHED) < 0:
        error = errno
        close(fd)
        raise OSError(error, "the directory cannot be watched")
    return fd
