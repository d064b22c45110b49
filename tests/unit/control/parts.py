"""Parts of snapshots, as short as they can be."""

from fastmesh.snapshot import Balance, Endpoint, Key, Listener, Service, Snapshot


def listener(id: int, port: int, host: str = "127.0.0.1") -> Listener:
    return Listener(id, f"listener-{id}", host, port, 8192, 61440, 100, 0, 1000, 0, 10_000, 60_000, 0, "", -1, id)


def service(id: int, *addresses: str) -> Service:
    endpoints = tuple(Endpoint(id * 100 + number, host, 80) for number, host in enumerate(addresses, 1))
    return Service(
        id, f"service-{id}", Balance.RANDOM, Key(), 1000, 15_000, 0, 1024, 30_000, 0, 50, -1, endpoints, ((),)
    )


def snapshot(version: str, *listeners: Listener, services: tuple[Service, ...] = ()) -> Snapshot:
    return Snapshot(version, listeners, services, (), ())
