"""What is said where cryptography's OpenSSL is not what TLS is built on. Each in a process of its own: it is global."""

import subprocess
import sys

import pytest

PROGRAM = """
import types
import cryptography.hazmat.bindings._rust as rust
from fastmesh._core import openssl

real = rust._openssl

def addressof(lib, name):
    if name == {missing!r}:
        raise AttributeError(name)
    return real.ffi.addressof(lib, name)

rust._openssl = types.SimpleNamespace(lib=real.lib, ffi=types.SimpleNamespace(addressof=addressof, cast=real.ffi.cast))
try:
    openssl.start_up()
except openssl.TlsUnavailable as error:
    print(error)
else:
    print("ready")
"""


def start_up(missing: str) -> str:
    program = [sys.executable, "-c", PROGRAM.format(missing=missing)]
    return subprocess.run(program, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def test_all_functions_are_there() -> None:
    assert start_up("") == "ready"


@pytest.mark.parametrize("name", ["SSL_read", "BIO_get_mem_data", "ERR_reason_error_string"])
def test_a_missing_function_is_named_in_one_line_with_what_to_do(name: str) -> None:
    from cryptography import __version__

    said = start_up(name)
    assert said.startswith(f"TLS is not available: cryptography {__version__} has no function {name}; install")
    assert "\n" not in said
