"""TLS of one connection, in memory.

OpenSSL calls back for the certificate (SNI) and the protocol (ALPN), with a context and no connection. Which one it is
stands in a thread-local variable for the time of the handshake call: a process has one engine, tests have several.
"""

from libc.stdint cimport uint16_t, uint32_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, strchr, strcmp, strlen

from fastmesh._core.ascii cimport ascii_lower
from fastmesh._core.buffers cimport buffer_data, buffer_give
from fastmesh._core.headers cimport IDENTITY_PARTS, IDENTITY_URI
from fastmesh._core.live cimport (
    PROTOCOL_HTTP,
    PROTOCOL_HTTP1,
    PROTOCOL_HTTP2,
    TLS_ALERT,
    TLS_CERTIFICATE,
    TLS_NOT_TLS,
    TLS_PROTOCOL,
    buffer_t,
    tls_listener_t,
    tls_service_t,
)
from fastmesh._core.openssl cimport (
    ERR_REASON_MASK,
    OPENSSL,
    SSL_ERROR_WANT_READ,
    SSL_ERROR_ZERO_RETURN,
    SSL_R_ALERTS,
    SSL_R_ALERTS_END,
    SSL_R_HTTP_REQUEST,
    SSL_R_HTTPS_PROXY_REQUEST,
    SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE,
    SSL_R_WRONG_VERSION_NUMBER,
    SSL_TLSEXT_ERR_ALERT_FATAL,
    SSL_TLSEXT_ERR_NOACK,
    SSL_TLSEXT_ERR_OK,
    TLS1_3_VERSION,
    TLSEXT_NAMETYPE_HOST_NAME,
    X509_CHECK_FLAGS,
    X509_V_OK,
    openssl_is_ready,
)
from fastmesh._core.sockets cimport AF_INET, sockaddr_storage

cdef extern from "<netinet/in.h>" nogil:
    cdef struct in_addr:
        pass
    cdef struct in6_addr:
        pass
    cdef struct sockaddr_in:
        in_addr sin_addr
    cdef struct sockaddr_in6:
        in6_addr sin6_addr

cdef extern from *:
    """
    static __thread const void *fastmesh_shaking_hands;
    """
    const void* SHAKING_HANDS "fastmesh_shaking_hands"

cdef enum:
    BIO_KEPT_BYTES = 512                # a BIO that has held more is replaced when it is empty
    NAME_MAX_BYTES = 255
    IDENTITY_MAX_BYTES = 16384

cdef const unsigned char* ALPN_HTTP2 = b"h2"

cdef object IDENTIFY = None
FAILURES = ("", "timeout", "closed", "not_tls", "certificate", "alert", "protocol")


cdef int tls_start_up(worker_t* worker, object identify) except -1:
    global IDENTIFY
    if not openssl_is_ready():
        raise RuntimeError("fastmesh._core.openssl.start_up comes first")
    IDENTIFY = identify
    if worker.records == NULL:
        worker.records = <char*>malloc(TLS_RECORDS_BYTES)
        if worker.records == NULL:
            raise MemoryError()
    return 0


# ---- what OpenSSL asks in the midst of a handshake


cdef const tls_listener_t* settings_of_listener() noexcept nogil:
    """Of the connection that is shaking hands; NULL: its listener speaks no TLS any more."""
    cdef const connection_t* connection = <const connection_t*>SHAKING_HANDS
    if connection == NULL or connection.listener == NULL or connection.listener.entry == NULL:
        return NULL
    return connection.listener.entry.tls


cdef void* certificate_for(const tls_listener_t* settings, const char* name) noexcept nogil:
    """The SSL_CTX for a name: exact, then wildcard (of one label), then the default."""
    cdef const char* parent = strchr(name, c".")
    cdef uint32_t i
    for i in range(settings.name_count):
        if strcmp(settings.names[i].name, name) == 0:
            return settings.names[i].ssl_ctx
    if parent != NULL:
        for i in range(settings.name_count):
            if settings.names[i].name[0] == c"*" and strcmp(settings.names[i].name + 1, parent) == 0:
                return settings.names[i].ssl_ctx
    return settings.ssl_ctx


cdef int choose_certificate(void* ssl, int* alert, void* arg) noexcept nogil:
    cdef const tls_listener_t* settings = settings_of_listener()
    cdef const char* asked = OPENSSL.SSL_get_servername(ssl, TLSEXT_NAMETYPE_HOST_NAME)
    cdef char[NAME_MAX_BYTES + 1] name
    cdef size_t length
    cdef size_t i
    if settings == NULL or asked == NULL:
        return SSL_TLSEXT_ERR_NOACK
    length = strlen(asked)
    if length > NAME_MAX_BYTES:
        return SSL_TLSEXT_ERR_NOACK
    for i in range(length + 1):
        name[i] = ascii_lower(asked[i])
    OPENSSL.SSL_set_SSL_CTX(ssl, certificate_for(settings, name))
    return SSL_TLSEXT_ERR_OK


cdef int choose_protocol(
    void* ssl, const unsigned char** out, unsigned char* out_len,
    const unsigned char* offered, unsigned int offered_len, void* arg
) noexcept nogil:
    cdef const tls_listener_t* settings = settings_of_listener()
    cdef unsigned int ours = 0
    cdef unsigned int theirs
    if settings == NULL or settings.alpn_len == 0:
        return SSL_TLSEXT_ERR_NOACK
    while ours < settings.alpn_len:
        theirs = 0
        while theirs < offered_len:
            if (
                offered[theirs] == settings.alpn[ours]
                and theirs + offered[theirs] < offered_len
                and memcmp(&settings.alpn[ours + 1], offered + theirs + 1, offered[theirs]) == 0
            ):
                out[0] = offered + theirs + 1
                out_len[0] = offered[theirs]
                return SSL_TLSEXT_ERR_OK
            theirs += 1 + offered[theirs]
        ours += 1 + settings.alpn[ours]
    return SSL_TLSEXT_ERR_ALERT_FATAL   # RFC 7301 3.2


cdef void tls_prepare_listener(void* ssl_ctx) noexcept nogil:
    OPENSSL.SSL_CTX_set_tlsext_servername_callback(ssl_ctx, choose_certificate)
    OPENSSL.SSL_CTX_set_alpn_select_cb(ssl_ctx, choose_protocol, NULL)


# ---- birth and end


cdef bint renew_bios(tls_t* tls, bint received, bint written) noexcept nogil:
    """The old ones go with SSL_set_bio."""
    cdef void* reads = OPENSSL.BIO_new(OPENSSL.BIO_s_mem()) if received else tls.received
    cdef void* writes = OPENSSL.BIO_new(OPENSSL.BIO_s_mem()) if written else tls.written
    if reads == NULL or writes == NULL:
        if received and reads != NULL:
            OPENSSL.BIO_free(reads)
        if written and writes != NULL:
            OPENSSL.BIO_free(writes)
        return False
    OPENSSL.SSL_set_bio(tls.ssl, reads, writes)
    tls.received = reads
    tls.written = writes
    if received:
        tls.received_most = 0
    if written:
        tls.written_most = 0
    return True


cdef tls_t* tls_new(void* ssl_ctx) noexcept nogil:
    cdef tls_t* tls = <tls_t*>calloc(1, sizeof(tls_t))
    if tls == NULL:
        return NULL
    OPENSSL.ERR_clear_error()
    tls.ssl = OPENSSL.SSL_new(ssl_ctx)
    if tls.ssl == NULL or not renew_bios(tls, True, True):
        if tls.ssl != NULL:
            OPENSSL.SSL_free(tls.ssl)
        free(tls)
        return NULL
    return tls


cdef void tls_free(worker_t* worker, tls_t* tls) noexcept nogil:
    if tls.unsent != NULL:
        buffer_give(worker, tls.unsent)
    OPENSSL.SSL_free(tls.ssl)
    free(tls.identity_text)
    free(tls.allowed_ids)
    free(tls)


cdef int tls_accept(connection_t* connection) noexcept nogil:
    cdef buffer_t* input = connection.input
    cdef tls_t* tls = tls_new(connection.listener.entry.tls.ssl_ctx)
    cdef int result = 0
    if tls == NULL:
        return -1
    OPENSSL.SSL_set_accept_state(tls.ssl)
    tls.wants_input = 1
    connection.tls = tls
    if input != NULL:
        result = tls_feed(tls, buffer_data(input) + input.begin, input.end - input.begin)
        tls.wants_input = 0
        tls.has_heard = 1               # by whoever kept it
        buffer_give(connection.worker, input)
        connection.input = NULL
    return result


cdef int expect_peer(tls_t* tls, const tls_service_t* settings, const sockaddr_storage* address) noexcept nogil:
    """Who the endpoint must prove to be: by name, by address, or by SPIFFE id (then the name does not count)."""
    cdef void* param = OPENSSL.SSL_get0_param(tls.ssl)
    if settings.spiffe_ids_len:
        tls.allowed_ids = <char*>malloc(settings.spiffe_ids_len)
        if tls.allowed_ids == NULL:
            return -1
        memcpy(tls.allowed_ids, settings.spiffe_ids, settings.spiffe_ids_len)
        tls.allowed_ids_len = settings.spiffe_ids_len
        return 0
    OPENSSL.X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAGS)
    if settings.server_name[0] != 0:
        return OPENSSL.X509_VERIFY_PARAM_set1_host(param, settings.server_name, strlen(settings.server_name)) - 1
    if address.ss_family == AF_INET:
        return OPENSSL.X509_VERIFY_PARAM_set1_ip(
            param, <const unsigned char*>&(<const sockaddr_in*>address).sin_addr, 4
        ) - 1
    return OPENSSL.X509_VERIFY_PARAM_set1_ip(
        param, <const unsigned char*>&(<const sockaddr_in6*>address).sin6_addr, 16
    ) - 1


cdef int tls_connect(connection_t* connection, const service_entry_t* service) noexcept nogil:
    cdef const tls_service_t* settings = service.tls
    cdef endpoint_t* endpoint = connection.endpoint
    cdef tls_t* tls = tls_new(settings.ssl_ctx)
    if tls == NULL:
        return -1
    connection.tls = tls
    tls.settings = settings.settings
    OPENSSL.SSL_set_connect_state(tls.ssl)
    if settings.server_name[0] != 0:
        OPENSSL.SSL_set_tlsext_host_name(tls.ssl, settings.server_name)
    if settings.verifies and expect_peer(tls, settings, &endpoint.address) < 0:
        return -1
    if endpoint.tls_session != NULL and endpoint.tls_settings == settings.settings:
        OPENSSL.SSL_set_session(tls.ssl, endpoint.tls_session)
    return 0


cdef void tls_keep_session(connection_t* connection) noexcept nogil:
    cdef endpoint_t* endpoint = connection.endpoint
    cdef void* session = OPENSSL.SSL_get1_session(connection.tls.ssl)
    connection.tls.has_kept_session = 1
    if session == NULL:
        return
    tls_forget_session(endpoint)
    endpoint.tls_session = session
    endpoint.tls_settings = connection.tls.settings


cdef void tls_forget_session(endpoint_t* endpoint) noexcept nogil:
    if endpoint.tls_session != NULL:
        OPENSSL.SSL_SESSION_free(endpoint.tls_session)
        endpoint.tls_session = NULL


# ---- the handshake


cdef void tls_fail(tls_t* tls, uint8_t failure, const char* detail) noexcept nogil:
    tls.failure = failure
    snprintf(tls.detail, sizeof(tls.detail), b"%s", detail)


cdef bint is_not_tls(int reason) noexcept nogil:
    return (
        reason == SSL_R_HTTP_REQUEST or reason == SSL_R_HTTPS_PROXY_REQUEST or reason == SSL_R_WRONG_VERSION_NUMBER
    )


cdef void classify(tls_t* tls) noexcept nogil:
    """Why OpenSSL gave up."""
    cdef unsigned long error = OPENSSL.ERR_peek_error()
    cdef int reason = <int>(error & ERR_REASON_MASK)
    cdef long verified = OPENSSL.SSL_get_verify_result(tls.ssl)
    cdef const char* text = OPENSSL.ERR_reason_error_string(error)
    if text == NULL:
        text = b"the handshake made no sense"
    if SSL_R_ALERTS <= reason < SSL_R_ALERTS_END:
        tls_fail(tls, TLS_ALERT, text)
    elif verified != X509_V_OK:
        tls_fail(tls, TLS_CERTIFICATE, b"")
        snprintf(
            tls.detail, sizeof(tls.detail), b"certificate verify failed: %s",
            OPENSSL.X509_verify_cert_error_string(verified),
        )
    elif reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        tls_fail(tls, TLS_CERTIFICATE, b"the peer sent no certificate")
    elif is_not_tls(reason):
        tls_fail(tls, TLS_NOT_TLS, b"the peer does not speak TLS")
    else:
        tls_fail(tls, TLS_PROTOCOL, text)


cdef int store_identity(tls_t* tls, tuple parts) except -1:
    cdef uint16_t* places[4]
    cdef uint16_t* lengths[4]
    cdef uint32_t at = 0
    cdef bytes part
    cdef int i
    for i in range(IDENTITY_PARTS):
        places[i] = &tls.identity_at[i]
        lengths[i] = &tls.identity_len[i]
    places[IDENTITY_PARTS] = &tls.forwarded_at
    lengths[IDENTITY_PARTS] = &tls.forwarded_len
    tls.identity_text = <char*>calloc(1, IDENTITY_PARTS + 1 + sum([len(part) for part in parts]))
    if tls.identity_text == NULL:
        raise MemoryError()
    for i in range(IDENTITY_PARTS + 1):
        part = parts[i]
        places[i][0] = <uint16_t>at
        lengths[i][0] = <uint16_t>len(part)
        memcpy(tls.identity_text + at, <const char*>part, len(part))
        at += <uint32_t>len(part) + 1
    return 0


cdef int read_certificate(tls_t* tls, void* certificate) noexcept with gil:
    """-1: it is not one that we can make out, which is then not to be believed."""
    cdef void* bio = OPENSSL.BIO_new(OPENSSL.BIO_s_mem())
    cdef char* data = NULL
    cdef long length
    if bio == NULL:
        return -1
    try:
        if OPENSSL.i2d_X509_bio(bio, certificate) != 1:
            return -1
        length = OPENSSL.BIO_get_mem_data(bio, &data)
        parts = IDENTIFY(data[:length])
        if parts is None or sum([len(part) for part in parts]) > IDENTITY_MAX_BYTES:
            return -1
        return store_identity(tls, parts)
    except Exception:
        return -1
    finally:
        OPENSSL.BIO_free(bio)


cdef bint is_allowed(const tls_t* tls) noexcept nogil:
    cdef const char* at = tls.allowed_ids
    if tls.identity_text == NULL or tls.identity_len[IDENTITY_URI] == 0:
        return False
    while at < tls.allowed_ids + tls.allowed_ids_len:
        if strcmp(at, tls.identity_text + tls.identity_at[IDENTITY_URI]) == 0:
            return True
        at += strlen(at) + 1
    return False


cdef bint find_identity(tls_t* tls) noexcept nogil:
    """False: the peer's certificate was verified, and yet cannot be accepted."""
    cdef void* certificate = OPENSSL.SSL_get_peer_certificate(tls.ssl)
    cdef int result = 0
    if certificate != NULL:
        if OPENSSL.SSL_get_verify_result(tls.ssl) == X509_V_OK:
            result = read_certificate(tls, certificate)
        OPENSSL.X509_free(certificate)
    if result < 0:
        tls_fail(tls, TLS_CERTIFICATE, b"the certificate cannot be made out")
        return False
    if tls.allowed_ids != NULL and not is_allowed(tls):
        tls_fail(tls, TLS_CERTIFICATE, b"certificate verify failed: SPIFFE id mismatch")
        return False
    return True


cdef int complete(connection_t* connection) noexcept nogil:
    cdef tls_t* tls = connection.tls
    cdef char* data
    # A client looks at the server's certificate only where a SPIFFE id is asked for: OpenSSL has verified the name.
    if (connection.is_downstream or tls.allowed_ids != NULL) and not find_identity(tls):
        return TLS_FAILED
    tls.is_ready = 1
    tls.was_resumed = OPENSSL.SSL_session_reused(tls.ssl) == 1
    tls.version = 3 if OPENSSL.SSL_version(tls.ssl) == TLS1_3_VERSION else 2
    tls.has_pending = OPENSSL.BIO_get_mem_data(tls.received, &data) > 0
    # Handshakes are larger than most of what follows.
    tls.received_most = tls.written_most = BIO_KEPT_BYTES + 1
    if not tls.has_pending:
        renew_bios(tls, True, False)
    tls_settle(tls)
    return TLS_DONE


cdef int tls_handshake(connection_t* connection) noexcept nogil:
    global SHAKING_HANDS
    cdef tls_t* tls = connection.tls
    cdef int result
    OPENSSL.ERR_clear_error()
    SHAKING_HANDS = connection
    result = OPENSSL.SSL_do_handshake(tls.ssl)
    SHAKING_HANDS = NULL
    if result == 1:
        return complete(connection)
    if OPENSSL.SSL_get_error(tls.ssl, result) == SSL_ERROR_WANT_READ:
        tls.wants_input = 1
        return TLS_WAITS
    classify(tls)
    return TLS_FAILED


cdef uint8_t tls_protocol(const tls_t* tls) noexcept nogil:
    cdef const unsigned char* name = NULL
    cdef unsigned int length = 0
    OPENSSL.SSL_get0_alpn_selected(tls.ssl, &name, &length)
    if length == 0:
        return PROTOCOL_HTTP
    return PROTOCOL_HTTP2 if length == 2 and memcmp(name, ALPN_HTTP2, 2) == 0 else PROTOCOL_HTTP1


# ---- records


cdef int tls_feed(tls_t* tls, const char* records, size_t length) noexcept nogil:
    if length > tls.received_most:
        tls.received_most = <uint32_t>length
    return 0 if OPENSSL.BIO_write(tls.received, records, <int>length) == <int>length else -1


cdef int64_t tls_decrypt(tls_t* tls, char* data, size_t room) noexcept nogil:
    cdef size_t total = 0
    cdef char* rest
    cdef int length
    cdef int error
    while total < room:
        OPENSSL.ERR_clear_error()
        length = OPENSSL.SSL_read(tls.ssl, data + total, <int>(room - total))
        if length > 0:
            total += <size_t>length
            if OPENSSL.SSL_pending(tls.ssl) > 0 or OPENSSL.BIO_get_mem_data(tls.received, &rest) > 0:
                continue
        else:
            error = OPENSSL.SSL_get_error(tls.ssl, length)
            if error == SSL_ERROR_ZERO_RETURN:
                tls.has_ended = 1
            elif error != SSL_ERROR_WANT_READ:
                tls.is_broken = 1
        tls.has_pending = 0
        if tls.received_most > BIO_KEPT_BYTES:
            renew_bios(tls, True, False)
        return <int64_t>total
    tls.has_pending = 1
    return <int64_t>total


cdef int64_t tls_encrypt(tls_t* tls, const char* data, size_t length, char* out, size_t room) noexcept nogil:
    cdef size_t at = 0
    cdef int written
    while at < length:
        OPENSSL.ERR_clear_error()
        written = OPENSSL.SSL_write(tls.ssl, data + at, <int>(length - at))
        if written <= 0:
            tls.is_broken = 1
            return -1
        at += <size_t>written
    return <int64_t>tls_take_records(tls, out, room)


cdef bint tls_has_records(tls_t* tls) noexcept nogil:
    cdef char* data
    return OPENSSL.BIO_get_mem_data(tls.written, &data) > 0


cdef size_t tls_take_records(tls_t* tls, char* out, size_t room) noexcept nogil:
    cdef int length = OPENSSL.BIO_read(tls.written, out, <int>room)
    if length <= 0:
        return 0
    if <uint32_t>length > tls.written_most:
        tls.written_most = <uint32_t>length
    return <size_t>length


cdef void tls_settle(tls_t* tls) noexcept nogil:
    if tls.written_most > BIO_KEPT_BYTES and not tls_has_records(tls):
        renew_bios(tls, False, True)


cdef void tls_say_end(tls_t* tls) noexcept nogil:
    if not tls.is_ready or tls.has_said_end or tls.is_broken:
        return
    tls.has_said_end = 1
    OPENSSL.ERR_clear_error()
    OPENSSL.SSL_shutdown(tls.ssl)
