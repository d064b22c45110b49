"""System calls of the engine, as they are: non-blocking, EINTR retried, errors as negative errno."""

from libc.errno cimport EINTR, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memmove, strlen, strncmp
from posix.types cimport off_t

cdef extern from "<sys/types.h>" nogil:
    ctypedef unsigned int socklen_t

cdef extern from "<sys/uio.h>" nogil:
    cdef struct iovec:
        void* iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    cdef struct sockaddr:
        unsigned short sa_family
    cdef struct sockaddr_storage:
        unsigned short ss_family
    cdef struct msghdr:
        void* msg_name
        socklen_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    cdef struct linger:
        int l_onoff
        int l_linger
    enum: AF_INET, AF_INET6, SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC, SOL_SOCKET, SO_ERROR, SO_LINGER
    enum: MSG_NOSIGNAL, MSG_DONTWAIT, MSG_PEEK, SHUT_RD, SHUT_WR
    int socket(int domain, int kind, int protocol)
    int connect(int fd, const sockaddr* address, socklen_t length)
    int accept4(int fd, sockaddr* address, socklen_t* length, int flags)
    ssize_t recv(int fd, void* data, size_t length, int flags)
    ssize_t send(int fd, const void* data, size_t length, int flags)
    ssize_t sendmsg(int fd, const msghdr* message, int flags)
    int shutdown(int fd, int how)
    int getsockopt(int fd, int level, int name, void* value, socklen_t* length)
    int setsockopt(int fd, int level, int name, const void* value, socklen_t length)
    int getsockname(int fd, sockaddr* address, socklen_t* length)

cdef extern from "<netinet/in.h>" nogil:
    enum: IPPROTO_TCP

cdef extern from "<arpa/inet.h>" nogil:
    cdef struct in_addr:
        pass
    cdef struct in6_addr:
        pass
    cdef struct sockaddr_in:
        unsigned short sin_family
        unsigned short sin_port
        in_addr sin_addr
    cdef struct sockaddr_in6:
        unsigned short sin6_family
        unsigned short sin6_port
        in6_addr sin6_addr
    const char* inet_ntop(int family, const void* address, char* text, socklen_t size)
    int inet_pton(int family, const char* text, void* address)
    unsigned short htons(unsigned short value)
    unsigned short ntohs(unsigned short value)

cdef extern from "<netinet/tcp.h>" nogil:
    enum: TCP_NODELAY

cdef extern from "<sys/ioctl.h>" nogil:
    int ioctl(int fd, unsigned long request, ...)

cdef extern from "<linux/sockios.h>" nogil:
    enum: SIOCOUTQ

cdef extern from "<unistd.h>" nogil:
    int close(int fd)
    ssize_t write(int fd, const void* data, size_t length)
    ssize_t read(int fd, void* data, size_t length)

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        void* ptr
        int fd
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    enum: EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL
    # Unsigned 32-bit masks: an enum would be signed, and EPOLLET is the top bit.
    const uint32_t EPOLLIN
    const uint32_t EPOLLOUT
    const uint32_t EPOLLRDHUP
    const uint32_t EPOLLHUP
    const uint32_t EPOLLERR
    const uint32_t EPOLLET
    int epoll_create1(int flags)
    int epoll_ctl(int epoll_fd, int operation, int fd, epoll_event* event)
    int epoll_wait(int epoll_fd, epoll_event* events, int room, int timeout_ms)

cdef extern from "<time.h>" nogil:
    cdef struct timespec:
        long tv_sec
        long tv_nsec
    cdef struct itimerspec:
        timespec it_interval
        timespec it_value
    enum: CLOCK_MONOTONIC, CLOCK_REALTIME
    int clock_gettime(int clock, timespec* value)

cdef extern from "<sys/timerfd.h>" nogil:
    enum: TFD_NONBLOCK, TFD_CLOEXEC, TFD_TIMER_ABSTIME
    int timerfd_create(int clock, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec* value, itimerspec* old)


cdef inline uint64_t clock_ns(int clock) noexcept nogil:
    cdef timespec value
    clock_gettime(clock, &value)
    return <uint64_t>value.tv_sec * 1000000000 + <uint64_t>value.tv_nsec


cdef inline ssize_t socket_receive(int fd, char* data, size_t room) noexcept nogil:
    """Bytes received, 0 at the end, or -errno (-EAGAIN: nothing there)."""
    cdef ssize_t received
    while True:
        received = recv(fd, data, room, 0)
        if received >= 0:
            return received
        if errno != EINTR:
            return -errno


cdef inline ssize_t socket_send(int fd, const char* data, size_t length) noexcept nogil:
    """Bytes sent, or -errno (-EAGAIN: the socket's buffer is full)."""
    cdef ssize_t sent
    while True:
        sent = send(fd, data, length, MSG_NOSIGNAL)
        if sent >= 0:
            return sent
        if errno != EINTR:
            return -errno


cdef inline ssize_t socket_send_pieces(int fd, iovec* pieces, size_t count) noexcept nogil:
    """Like socket_send, of several pieces at once."""
    cdef msghdr message
    cdef ssize_t sent
    message.msg_name = NULL
    message.msg_namelen = 0
    message.msg_iov = pieces
    message.msg_iovlen = count
    message.msg_control = NULL
    message.msg_controllen = 0
    message.msg_flags = 0
    while True:
        sent = sendmsg(fd, &message, MSG_NOSIGNAL)
        if sent >= 0:
            return sent
        if errno != EINTR:
            return -errno


cdef inline int socket_error(int fd) noexcept nogil:
    """The pending error of a socket (an errno), 0 if none."""
    cdef int value = 0
    cdef socklen_t length = sizeof(value)
    if getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &length) < 0:
        return errno
    return value


cdef inline void socket_set_nodelay(int fd) noexcept nogil:
    cdef int one = 1
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))


cdef inline void socket_reset_on_close(int fd) noexcept nogil:
    """Make close() send RST: the peer must not take what it has for the whole."""
    cdef linger value
    value.l_onoff = 1
    value.l_linger = 0
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof(value))


cdef inline uint16_t socket_address_text(const sockaddr_storage* address, char* text, socklen_t size) noexcept nogil:
    """The address as text (at most 46 bytes), IPv4 also where the socket is for both; its port."""
    cdef const sockaddr_in* v4 = <const sockaddr_in*>address
    cdef const sockaddr_in6* v6 = <const sockaddr_in6*>address
    if address.ss_family == AF_INET:
        inet_ntop(AF_INET, &v4.sin_addr, text, size)
        return ntohs(v4.sin_port)
    inet_ntop(address.ss_family, &v6.sin6_addr, text, size)
    if strncmp(text, b"::ffff:", 7) == 0:
        memmove(text, text + 7, strlen(text) - 6)
    return ntohs(v6.sin6_port)


cdef inline int socket_unsent(int fd) noexcept nogil:
    """Bytes that the kernel holds and the peer has not acknowledged."""
    cdef int value = 0
    if ioctl(fd, SIOCOUTQ, &value) < 0:
        return 0
    return value
