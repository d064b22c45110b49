"""/etc/hosts and names that need no look-up."""

from pathlib import Path

from fastmesh.discovery.hosts import HostsFile, is_address, is_loopback_name, parse_hosts


def test_parse() -> None:
    text = """
# a comment
127.0.0.1  localhost
10.0.0.1   one ONE.example.  # two names
10.0.0.2\tone
fd00::1    one
not-an-address one
10.0.0.3
"""
    assert parse_hosts(text) == {
        "localhost": ("127.0.0.1",),
        "one": ("10.0.0.1", "10.0.0.2", "fd00::1"),
        "one.example": ("10.0.0.1",),
    }


def test_changes_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    hosts = HostsFile(path)
    assert hosts.addresses("one") == ()
    path.write_text("10.0.0.1 one\n")
    assert hosts.addresses("one") == ("10.0.0.1",)
    path.write_text("10.0.0.22 one\n")
    assert hosts.addresses("one") == ("10.0.0.22",)
    path.unlink()
    assert hosts.addresses("one") == ()


def test_rubbish_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(b"\xff\xfe\x00 what\n10.0.0.1 one\n")
    assert HostsFile(path).addresses("one") == ("10.0.0.1",)


def test_kinds_of_names() -> None:
    assert is_address("10.0.0.1") and is_address("::1")
    assert not is_address("10.0.0.1.example") and not is_address("localhost")
    assert is_loopback_name("localhost") and is_loopback_name("shop.localhost")
    assert not is_loopback_name("localhost.example") and not is_loopback_name("mylocalhost")
