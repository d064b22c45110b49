"""The pass over the bytes of a head, against a plain reading of them."""

import random
import re

from fastmesh._core.http1_fields import find_flaws


def test_flaws_at_every_place() -> None:
    clean = b"GET / HTTP/1.1\r\nHost: example.org\r\nX: \t\xe9\xff ~ a long value, longer than a vector\r\n\r\n"
    assert find_flaws(clean) == (False, False)
    for i in range(1, len(clean)):
        assert find_flaws(clean[:i] + b"\x00" + clean[i:]) == (True, True)
        assert find_flaws(clean[:i] + b"\x1f" + clean[i:])[1]
        assert find_flaws(clean[:i] + b"\x7f" + clean[i:])[1]
        assert find_flaws(clean[:i] + b"\r" + clean[i:])[0]
        if clean[i - 1 : i] != b"\r":
            assert find_flaws(clean[:i] + b"\n" + clean[i:])[0]


def test_flaws_of_random_bytes() -> None:
    chance = random.Random(9112)
    for _ in range(3000):
        length = chance.randrange(1, 80)
        data = bytes(chance.choice(b"abc \t\r\n\r\n\x00\x01\x1f\x7f\x80\xff") for _ in range(length))
        data = b"A" + re.sub(rb"\r(?!\n)", b"\r\n", data)
        bare = re.search(rb"(?<!\r)\n|\r(?!\n)|\x00", data) is not None
        control = re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", data) is not None
        assert find_flaws(data) == (bare, control)
