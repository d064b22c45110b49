"""The OpenSSL that cryptography's wheel carries, as C functions.

cryptography offers it to pyOpenSSL through cffi, and cffi knows the addresses. The names are private to cryptography,
so its range is pinned, and everything is looked up and tried before the first connection needs it.
"""

cdef const char** NAMES = [
    b"SSL_new", b"SSL_free", b"SSL_set_bio", b"SSL_set_accept_state", b"SSL_set_connect_state", b"SSL_do_handshake",
    b"SSL_read", b"SSL_write", b"SSL_pending", b"SSL_shutdown", b"SSL_get_error", b"SSL_version",
    b"SSL_session_reused", b"SSL_set_session", b"SSL_get1_session", b"SSL_SESSION_free", b"SSL_set_SSL_CTX",
    b"SSL_get_servername", b"SSL_set_tlsext_host_name", b"SSL_get0_alpn_selected", b"SSL_CTX_set_alpn_select_cb",
    b"SSL_CTX_set_tlsext_servername_callback", b"SSL_get_peer_certificate", b"SSL_get_verify_result",
    b"SSL_get0_param", b"X509_VERIFY_PARAM_set_hostflags", b"X509_VERIFY_PARAM_set1_host",
    b"X509_VERIFY_PARAM_set1_ip", b"X509_verify_cert_error_string", b"X509_free", b"i2d_X509_bio", b"BIO_s_mem",
    b"BIO_new", b"BIO_free", b"BIO_read", b"BIO_write", b"BIO_get_mem_data", b"ERR_clear_error", b"ERR_peek_error",
    b"ERR_reason_error_string",
]
cdef enum:
    NAME_COUNT = 40
    SELF_TEST_TURNS = 10
    SELF_TEST_BYTES = 16384

cdef bint is_ready = False
cdef object FFI = None


class TlsUnavailable(RuntimeError):
    pass


cdef bint openssl_is_ready() noexcept nogil:
    return is_ready


cdef object unavailable(str problem):
    try:
        from cryptography import __version__ as version
    except ImportError:
        version = "(not installed)"
    return TlsUnavailable(
        f"TLS is not available: cryptography {version} {problem}; install the version that fastmesh asks for:"
        " pip install --upgrade --force-reinstall fastmesh"
    )


def start_up():
    global is_ready, FFI
    cdef void** functions = <void**>&OPENSSL
    cdef openssl_t found
    cdef size_t address
    cdef int i
    if is_ready:
        return
    if sizeof(openssl_t) != NAME_COUNT * sizeof(void*):
        raise AssertionError("openssl_t and NAMES differ")
    try:
        from cryptography.hazmat.bindings._rust import _openssl
        lib, ffi = _openssl.lib, _openssl.ffi
    except (ImportError, AttributeError) as error:
        raise unavailable(f"has no C functions ({error})") from error
    for i in range(NAME_COUNT):
        name = NAMES[i].decode()
        try:
            address = int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))
        except (AttributeError, TypeError) as error:
            raise unavailable(f"has no function {name}") from error
        (<void**>&found)[i] = <void*>address
    for i in range(NAME_COUNT):
        functions[i] = (<void**>&found)[i]
    FFI = ffi
    is_ready = True


def address_of(ssl_context):
    return int(FFI.cast("uintptr_t", ssl_context._context))


# ---- the self-test


cdef int carry(void* source, void* sink) except -1:
    """What one side has written, to the other."""
    cdef char[SELF_TEST_BYTES] data
    cdef int length = OPENSSL.BIO_read(source, data, SELF_TEST_BYTES)
    if length > 0 and OPENSSL.BIO_write(sink, data, length) != length:
        raise MemoryError()
    return 0


cdef void* side(size_t ssl_ctx, void** received, void** sent) except NULL:
    cdef void* ssl = OPENSSL.SSL_new(<void*>ssl_ctx)
    if ssl == NULL:
        raise MemoryError()
    received[0] = OPENSSL.BIO_new(OPENSSL.BIO_s_mem())
    sent[0] = OPENSSL.BIO_new(OPENSSL.BIO_s_mem())
    OPENSSL.SSL_set_bio(ssl, received[0], sent[0])
    return ssl


cdef bint speaks(void* writer, void* reader, void* sent, void* received) except *:
    cdef char[5] heard
    if OPENSSL.SSL_write(writer, b"hello", 5) != 5:
        return False
    carry(sent, received)
    return OPENSSL.SSL_read(reader, heard, 5) == 5 and heard[:5] == b"hello"


cdef bint shakes_hands(size_t server_ctx, size_t client_ctx) except *:
    cdef void* server_received = NULL
    cdef void* server_sent = NULL
    cdef void* client_received = NULL
    cdef void* client_sent = NULL
    cdef int server_done = 0
    cdef int client_done = 0
    cdef bint works = False
    cdef void* server = side(server_ctx, &server_received, &server_sent)
    cdef void* client = side(client_ctx, &client_received, &client_sent)
    OPENSSL.SSL_set_accept_state(server)
    OPENSSL.SSL_set_connect_state(client)
    OPENSSL.ERR_clear_error()
    for _ in range(SELF_TEST_TURNS):
        client_done = OPENSSL.SSL_do_handshake(client)
        carry(client_sent, server_received)
        server_done = OPENSSL.SSL_do_handshake(server)
        carry(server_sent, client_received)
        if client_done == 1 and server_done == 1:
            works = (
                speaks(client, server, client_sent, server_received)
                and speaks(server, client, server_sent, client_received)
            )
            break
    OPENSSL.SSL_free(client)
    OPENSSL.SSL_free(server)
    return works


def self_test(size_t server_ctx, size_t client_ctx):
    cdef unsigned long error
    if shakes_hands(server_ctx, client_ctx):
        return
    error = OPENSSL.ERR_peek_error()
    reason = OPENSSL.ERR_reason_error_string(error).decode() if error else "no error given"
    raise unavailable(f"fails its self-test ({reason})")
