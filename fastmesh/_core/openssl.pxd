"""The OpenSSL that cryptography's wheel carries, as C functions: one library for contexts (pyOpenSSL) and connections.

Pointers of it must never meet the system's libssl. All is NULL until `start_up` was called from Python.
"""

from libc.stdint cimport uint32_t

cdef enum:
    SSL_ERROR_SSL = 1
    SSL_ERROR_WANT_READ = 2
    SSL_ERROR_ZERO_RETURN = 6
    SSL_TLSEXT_ERR_OK = 0
    SSL_TLSEXT_ERR_ALERT_FATAL = 2
    SSL_TLSEXT_ERR_NOACK = 3
    SSL_VERIFY_NONE = 0
    SSL_VERIFY_PEER = 1
    TLSEXT_NAMETYPE_HOST_NAME = 0
    X509_V_OK = 0
    X509_V_ERR_HOSTNAME_MISMATCH = 62
    X509_V_ERR_IP_ADDRESS_MISMATCH = 64
    X509_CHECK_FLAGS = 0x24             # no partial wildcards; never the subject's common name
    ERR_REASON_MASK = 0x7FFFFF
    SSL_R_ALERTS = 1000                 # a reason from here on is an alert that the peer sent
    SSL_R_ALERTS_END = 1256
    SSL_R_HTTPS_PROXY_REQUEST = 155
    SSL_R_HTTP_REQUEST = 156
    SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE = 199
    SSL_R_CERTIFICATE_VERIFY_FAILED = 134
    SSL_R_WRONG_VERSION_NUMBER = 267
    SSL_R_RECORD_LAYER_FAILURE = 313
    TLS1_3_VERSION = 0x0304

ctypedef int (*alpn_select_t)(
    void* ssl, const unsigned char** out, unsigned char* out_len,
    const unsigned char* offered, unsigned int offered_len, void* arg
) noexcept nogil
ctypedef int (*servername_t)(void* ssl, int* alert, void* arg) noexcept nogil

cdef struct openssl_t:                  # nothing but functions: openssl.pyx fills it by name, in this order
    void* (*SSL_new)(void* ssl_ctx) noexcept nogil
    void (*SSL_free)(void* ssl) noexcept nogil
    void (*SSL_set_bio)(void* ssl, void* read_bio, void* write_bio) noexcept nogil
    void (*SSL_set_accept_state)(void* ssl) noexcept nogil
    void (*SSL_set_connect_state)(void* ssl) noexcept nogil
    int (*SSL_do_handshake)(void* ssl) noexcept nogil
    int (*SSL_read)(void* ssl, void* data, int room) noexcept nogil
    int (*SSL_write)(void* ssl, const void* data, int length) noexcept nogil
    int (*SSL_pending)(const void* ssl) noexcept nogil
    int (*SSL_shutdown)(void* ssl) noexcept nogil
    int (*SSL_get_error)(const void* ssl, int result) noexcept nogil
    int (*SSL_version)(const void* ssl) noexcept nogil
    int (*SSL_session_reused)(const void* ssl) noexcept nogil
    int (*SSL_set_session)(void* ssl, void* session) noexcept nogil
    void* (*SSL_get1_session)(void* ssl) noexcept nogil
    void (*SSL_SESSION_free)(void* session) noexcept nogil
    void* (*SSL_set_SSL_CTX)(void* ssl, void* ssl_ctx) noexcept nogil
    const char* (*SSL_get_servername)(const void* ssl, int kind) noexcept nogil
    long (*SSL_set_tlsext_host_name)(void* ssl, const char* name) noexcept nogil
    void (*SSL_get0_alpn_selected)(const void* ssl, const unsigned char** name, unsigned int* length) noexcept nogil
    void (*SSL_CTX_set_alpn_select_cb)(void* ssl_ctx, alpn_select_t select, void* arg) noexcept nogil
    void (*SSL_CTX_set_tlsext_servername_callback)(void* ssl_ctx, servername_t choose) noexcept nogil
    void* (*SSL_get_peer_certificate)(const void* ssl) noexcept nogil
    long (*SSL_get_verify_result)(const void* ssl) noexcept nogil
    void* (*SSL_get0_param)(void* ssl) noexcept nogil
    void (*X509_VERIFY_PARAM_set_hostflags)(void* param, unsigned int flags) noexcept nogil
    int (*X509_VERIFY_PARAM_set1_host)(void* param, const char* name, size_t length) noexcept nogil
    int (*X509_VERIFY_PARAM_set1_ip)(void* param, const unsigned char* address, size_t length) noexcept nogil
    const char* (*X509_verify_cert_error_string)(long error) noexcept nogil
    void (*X509_free)(void* certificate) noexcept nogil
    int (*i2d_X509_bio)(void* bio, void* certificate) noexcept nogil
    const void* (*BIO_s_mem)() noexcept nogil
    void* (*BIO_new)(const void* method) noexcept nogil
    int (*BIO_free)(void* bio) noexcept nogil
    int (*BIO_read)(void* bio, void* data, int room) noexcept nogil
    int (*BIO_write)(void* bio, const void* data, int length) noexcept nogil
    long (*BIO_get_mem_data)(void* bio, char** data) noexcept nogil
    void (*ERR_clear_error)() noexcept nogil
    unsigned long (*ERR_peek_error)() noexcept nogil
    const char* (*ERR_reason_error_string)(unsigned long error) noexcept nogil

cdef openssl_t OPENSSL

# Whether `start_up` has succeeded.
cdef bint openssl_is_ready() noexcept nogil
