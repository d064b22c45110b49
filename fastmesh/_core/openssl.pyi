"""The OpenSSL that cryptography's wheel carries, for connections in C."""

class TlsUnavailable(RuntimeError):
    """The installed cryptography does not offer what TLS is built on; the message says what to do."""

def start_up() -> None:
    """Find the functions; more than one call does nothing. Raises TlsUnavailable."""

def address_of(ssl_context: object) -> int:
    """Where the SSL_CTX of a pyOpenSSL object is; good for as long as that lives."""

def self_test(server_ctx: int, client_ctx: int) -> None:
    """Shake hands in memory between two contexts (addresses of SSL_CTX), and send a message each way.

    Raises TlsUnavailable.
    """
