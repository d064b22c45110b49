/* What the kernel charges for any proxy at all: receive, send, receive, send. It parses nothing, counts nothing, and
   pairs each client connection with one to the upstream. Good for small messages only: what a socket does not take is
   lost.

   floor UPSTREAM_PORT PORT */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct side {
    int fd;
    struct side* other; /* NULL: the listening socket */
};

static int epoll;

static void watch(struct side* side, unsigned events) {
    struct epoll_event event = {events, {.ptr = side}};
    epoll_ctl(epoll, EPOLL_CTL_ADD, side->fd, &event);
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int set(int fd, int level, int option) {
    int one = 1;
    return setsockopt(fd, level, option, &one, sizeof one);
}

static void pair(int fd, int upstream_port) {
    struct sockaddr_in address = loopback(upstream_port);
    struct side* down = calloc(1, sizeof *down);
    struct side* up = calloc(1, sizeof *up);
    *down = (struct side){fd, up};
    *up = (struct side){socket(AF_INET, SOCK_STREAM, 0), down};
    set(up->fd, IPPROTO_TCP, TCP_NODELAY);
    if (connect(up->fd, (struct sockaddr*)&address, sizeof address) < 0) {
        perror("connect");
        exit(1);
    }
    watch(down, EPOLLIN | EPOLLET);
    watch(up, EPOLLIN | EPOLLET);
}

static void relay(struct side* side) {
    static char data[16384];
    ssize_t length = recv(side->fd, data, sizeof data, MSG_DONTWAIT);
    if (length > 0)
        send(side->other->fd, data, length, MSG_NOSIGNAL);
    else if (length == 0 || errno != EAGAIN) {
        close(side->fd); /* the pair is not freed: the other side's event may be in the same batch */
        side->fd = -1;
        if (side->other->fd >= 0)
            shutdown(side->other->fd, SHUT_RDWR);
    }
}

int main(int count, char** words) {
    if (count != 3)
        return fputs("usage: floor UPSTREAM_PORT PORT\n", stderr), 2;
    struct sockaddr_in address = loopback(atoi(words[2]));
    struct side listening = {socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), NULL};
    struct epoll_event events[256];
    epoll = epoll_create1(0);
    set(listening.fd, SOL_SOCKET, SO_REUSEADDR);
    set(listening.fd, IPPROTO_TCP, TCP_NODELAY);
    if (bind(listening.fd, (struct sockaddr*)&address, sizeof address) < 0 || listen(listening.fd, 4096) < 0)
        return perror("listen"), 1;
    watch(&listening, EPOLLIN);
    for (;;) {
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            struct side* side = events[i].data.ptr;
            if (side->other == NULL) {
                int fd;
                while ((fd = accept4(side->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0)
                    pair(fd, atoi(words[1]));
            } else if (side->fd >= 0)
                relay(side);
        }
    }
}
