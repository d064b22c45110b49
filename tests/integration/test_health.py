"""Active checks: who is ill gets no requests, and gets them again when well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.mesh import Mesh, wait_until
from tests.upstream import Upstream

OFTEN = "interval: 50ms, timeout: 2s, rise: 2, fall: 2"
Start = Callable[[str], Upstream]


def endpoints(mesh: Mesh) -> dict[str, Any]:
    """The endpoints of the service by address."""
    return {each["address"]: each for each in mesh.admin("/services/hello").json["endpoints"]}


def answers(mesh: Mesh, requests: int = 20) -> set[str]:
    replies = [mesh.get() for _ in range(requests)]
    return {reply.text if reply.status == 200 else str(reply.status) for reply in replies}


def test_one_that_falls_ill_and_recovers(mesh: Mesh, start_upstream: Start) -> None:
    well, ill = start_upstream("well"), start_upstream("ill")
    mesh.serve(well.address, ill.address, hello=f"balance: round_robin\nhealth_check: {{http: /health, {OFTEN}}}")
    mesh.start()
    wait_until(lambda: all(each["checked"] for each in endpoints(mesh).values()), "the first checks")
    assert answers(mesh) == {"well", "ill"}
    ill.stop()
    wait_until(lambda: not endpoints(mesh)[ill.address]["healthy"], "the fall")
    state = endpoints(mesh)[ill.address]
    assert "connect" in state["last_check_error"]
    assert state["healthy_since"]
    wait_until(lambda: answers(mesh) == {"well"}, "the workers to see it")
    again = Upstream("again", port=ill.port).start()
    try:
        wait_until(lambda: endpoints(mesh)[ill.address]["healthy"], "the rise")
        wait_until(lambda: answers(mesh) == {"well", "again"}, "the workers to see it")
    finally:
        again.stop()
    assert "is unhealthy: connect" in mesh.log
    assert "is healthy again" in mesh.log


def test_the_status_decides_and_the_first_result_at_once(mesh: Mesh, start_upstream: Start) -> None:
    well, ill = start_upstream("well"), start_upstream("ill")
    path = "http: {path: /status/404, status: 404}"
    mesh.serve(well.address, hello=f"health_check: {{{path}, interval: 1m}}")
    mesh.start()
    wait_until(lambda: endpoints(mesh)[well.address]["checked"], "the first check")
    assert endpoints(mesh)[well.address]["healthy"]
    mesh.serve(ill.address, hello="health_check: {http: /status/500, interval: 1m, fall: 5}")
    wait_until(lambda: not endpoints(mesh).get(ill.address, {"healthy": True})["healthy"], "the first result")
    assert endpoints(mesh)[ill.address]["last_check_error"] == "status 500"


def test_tcp(mesh: Mesh, start_upstream: Start) -> None:
    well, ill = start_upstream("well"), start_upstream("ill")
    ill.stop()
    mesh.serve(well.address, ill.address, hello=f"health_check: {{tcp: true, {OFTEN}}}")
    mesh.start()
    wait_until(lambda: not endpoints(mesh)[ill.address]["healthy"], "the first result")
    wait_until(lambda: answers(mesh) == {"well"}, "the workers to see it")
    # A check by TCP sends nothing.
    assert all(seen.header("x-forwarded-for") for seen in well.seen)


def test_checks_run_once_a_node_and_survive_reloads(mesh: Mesh, upstream: Upstream) -> None:
    check = "health_check: {http: /health, interval: 1h}"
    mesh.serve(upstream.address, hello=check)
    mesh.start(workers=4)
    wait_until(lambda: endpoints(mesh)[upstream.address]["checked"], "the first check")
    version = mesh.version()
    mesh.serve(upstream.address, hello=check, route="match: {path: {prefix: /other}}")
    wait_until(lambda: mesh.version() != version, "the reload")
    assert mesh.get("/other").status == 200
    checks = [seen for seen in upstream.seen if (seen.header("user-agent") or "").startswith("fastmesh-health/")]
    assert [seen.target for seen in checks] == ["/health"]
    assert endpoints(mesh)[upstream.address]["checked"]


def test_below_the_threshold_all_are_used(mesh: Mesh, start_upstream: Start) -> None:
    upstreams = [start_upstream(name) for name in ("a", "b", "c")]
    # They answer requests, and fail their checks: but for the first, whose check asks for what it does.
    mesh.serve(
        *(upstream.address for upstream in upstreams),
        hello=f"balance: round_robin\nhealth_check: {{http: /status/500, {OFTEN}}}",
    )
    mesh.start()
    wait_until(lambda: not any(each["healthy"] for each in endpoints(mesh).values()), "the first results")
    assert answers(mesh) == {"a", "b", "c"}
    assert mesh.admin("/services/hello").json["panicking"] is True


def test_without_a_check_again(mesh: Mesh, start_upstream: Start) -> None:
    well, ill = start_upstream("well"), start_upstream("ill")
    mesh.serve(well.address, ill.address, hello=f"balance: round_robin\nhealth_check: {{http: /status/500, {OFTEN}}}")
    mesh.start()
    wait_until(lambda: not any(each["healthy"] for each in endpoints(mesh).values()), "the first results")
    mesh.serve(well.address, ill.address, hello="balance: round_robin")
    wait_until(lambda: all(each["healthy"] for each in endpoints(mesh).values()), "the flags to be cleared")
    assert not any(each["checked"] for each in endpoints(mesh).values())
