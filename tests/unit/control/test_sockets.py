"""Listening sockets: all of a change or nothing of it."""

import os
import socket

import pytest

from fastmesh.control.sockets import BindError, ListeningSockets, bind_failure
from tests.mesh import free_port
from tests.unit.control.parts import listener


@pytest.fixture
def sockets():
    sockets = ListeningSockets()
    yield sockets
    sockets.close()


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


def use(sockets: ListeningSockets, *listeners):
    change = sockets.prepare(listeners)
    sockets.commit(change)
    return change


def test_a_listener_is_added_moved_and_removed(sockets):
    first, second, third = free_port(), free_port(), free_port()
    change = use(sockets, listener(1, first), listener(2, second))
    assert (change.added_ids, change.removed_ids) == ((1, 2), ())
    kept = sockets.socket_of(2)
    change = use(sockets, listener(1, third), listener(2, second))
    assert (change.added_ids, change.removed_ids) == ((1,), ())
    assert [accepts(port) for port in (first, second, third)] == [False, True, True]
    assert sockets.socket_of(2) is kept
    change = use(sockets, listener(2, second))
    assert (change.added_ids, change.removed_ids) == ((), (1,))
    assert [accepts(port) for port in (second, third)] == [True, False]


def test_listeners_swap_addresses_without_closing_a_socket(sockets):
    first, second = free_port(), free_port()
    use(sockets, listener(1, first), listener(2, second))
    before = sockets.socket_of(1), sockets.socket_of(2)
    change = use(sockets, listener(1, second), listener(2, first))
    assert (change.added_ids, change.removed_ids) == ((1, 2), ())
    assert (sockets.socket_of(2), sockets.socket_of(1)) == before


def test_a_listener_takes_the_address_of_one_that_goes(sockets):
    port = free_port()
    use(sockets, listener(1, port))
    kept = sockets.socket_of(1)
    use(sockets, listener(2, port))
    assert sockets.socket_of(2) is kept
    assert accepts(port)


def test_one_address_in_use_refuses_the_whole_change_and_leaks_nothing(sockets):
    kept, free, other = free_port(), free_port(), free_port()
    use(sockets, listener(1, kept))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(BindError) as error:
            sockets.prepare([listener(1, other), listener(2, port), listener(3, free)])
        assert len(os.listdir("/proc/self/fd")) == before
    assert str(error.value) == (
        f"listener listener-2: cannot listen on 127.0.0.1:{port}: "
        "the address is in use; stop the program that listens there, or choose another port"
    )
    assert [accepts(port) for port in (kept, other, free)] == [True, False, False]


def test_every_address_that_fails_is_named(sockets):
    with pytest.raises(BindError) as error:
        sockets.prepare([listener(1, 8080, "198.51.100.1"), listener(2, 8080, "198.51.100.2")])
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == [
        "listener listener-1",
        "listener listener-2",
    ]
    assert "this machine has no such address" in str(error.value)


def test_ipv4_and_ipv6_of_one_port_stand_side_by_side(sockets):
    port = free_port()
    use(sockets, listener(1, port, "0.0.0.0"), listener(2, port, "::"))
    assert accepts(port) and accepts(port, "::1")


def test_sockets_do_not_block_and_are_not_inherited(sockets):
    use(sockets, listener(1, free_port()))
    assert not sockets.socket_of(1).getblocking()
    assert not sockets.socket_of(1).get_inheritable()


def test_low_ports_say_what_is_needed():
    assert "CAP_NET_BIND_SERVICE" in bind_failure("::1", 80, PermissionError(13, "Permission denied"))
    assert bind_failure("::1", 80, OSError(12, "Out of memory")) == "cannot listen on [::1]:80: Out of memory"
