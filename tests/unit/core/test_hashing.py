import os
import subprocess
import sys

import pytest
import xxhash

from fastmesh._core.hashing import MASK_64, hash_siphash, hash_xxh64, random_numbers


@pytest.mark.parametrize("length", [*range(70), 127, 1024, 4099])
def test_xxh64_agrees_with_the_xxhash_library(length: int) -> None:
    data = os.urandom(length)
    for seed in (0, 1, length, MASK_64):
        assert hash_xxh64(data, seed) == xxhash.xxh64(data, seed).intdigest()


def test_siphash_2_4_agrees_with_the_vector_of_its_paper() -> None:
    assert hash_siphash(bytes(range(15)), bytes(range(16)), 2, 4) == 0xA129CA6149BE45E5


def test_siphash_1_3_agrees_with_cpython() -> None:
    # CPython hashes bytes with SipHash-1-3; PYTHONHASHSEED=0 makes its key zero.
    script = "import sys; print(sys.hash_info.algorithm, *[hash(bytes(range(n))) for n in range(1, 64)])"
    found = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=True
    ).stdout
    algorithm, *numbers = found.split()
    assert algorithm == "siphash13"
    expected = [int(number) & MASK_64 for number in numbers]
    assert [hash_siphash(bytes(range(n)), bytes(16)) for n in range(1, 64)] == expected


def test_the_key_changes_the_hash() -> None:
    hashes = {hash_siphash(b"example.org", bytes([number]) * 16) for number in range(200)}
    assert len(hashes) == 200


def test_siphash_refuses_a_key_of_another_length() -> None:
    with pytest.raises(ValueError, match="16 bytes, not 3"):
        hash_siphash(b"", b"abc")


def test_splitmix64_agrees_with_its_reference() -> None:
    # The first outputs for seed 1234567, from the author's C program.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert random_numbers(1234567, 4) == expected
