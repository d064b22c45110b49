/* What wrk lacks for the TLS rows, by LD_PRELOAD: it has no client certificate, offers every cipher suite, and resumes
   the session of its last connection.

   Every connection of wrk is TLS 1.3 with AES-128-GCM and X25519, so that all proxies do the same arithmetic; shows the
   certificate of WRK_CERTIFICATE and WRK_KEY, where these are set; and begins with a full handshake.

   The prototypes are OpenSSL's, written out so that its headers need not be installed. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_method_st SSL_METHOD;
typedef struct ssl_session_st SSL_SESSION;
typedef struct ssl_st SSL;

enum { PEM = 1, SET_GROUPS_LIST = 92, SET_MIN_VERSION = 123, TLS_1_3 = 0x0304 };

long SSL_CTX_ctrl(SSL_CTX*, int, long, void*);
int SSL_CTX_set_ciphersuites(SSL_CTX*, const char*);
int SSL_CTX_use_certificate_chain_file(SSL_CTX*, const char*);
int SSL_CTX_use_PrivateKey_file(SSL_CTX*, const char*, int);
int SSL_session_reused(const SSL*);
int SSL_set_session(SSL*, SSL_SESSION*);

static void* next(const char* name) {
    void* found = dlsym(RTLD_NEXT, name);
    if (found == NULL) {
        fprintf(stderr, "wrk_tls: no %s in this OpenSSL\n", name);
        exit(1);
    }
    return found;
}

static void need(int done, const char* what) {
    if (done <= 0) {
        fprintf(stderr, "wrk_tls: OpenSSL refused %s\n", what);
        exit(1);
    }
}

SSL_CTX* SSL_CTX_new(const SSL_METHOD* method) {
    SSL_CTX* (*make)(const SSL_METHOD*) = next("SSL_CTX_new");
    const char* certificate = getenv("WRK_CERTIFICATE");
    const char* key = getenv("WRK_KEY");
    SSL_CTX* made = make(method);
    if (made == NULL)
        return NULL;
    need(SSL_CTX_ctrl(made, SET_MIN_VERSION, TLS_1_3, NULL), "TLS 1.3");
    need(SSL_CTX_ctrl(made, SET_GROUPS_LIST, 0, "X25519"), "X25519");
    need(SSL_CTX_set_ciphersuites(made, "TLS_AES_128_GCM_SHA256"), "AES-128-GCM");
    if (certificate != NULL && key != NULL) {
        need(SSL_CTX_use_certificate_chain_file(made, certificate), certificate);
        need(SSL_CTX_use_PrivateKey_file(made, key, PEM), key);
    }
    fputs("wrk_tls: TLS 1.3\n", stderr);
    return made;
}

int SSL_clear(SSL* ssl) {
    /* wrk clears a connection to use it again; OpenSSL would then offer the session that it had. */
    static int (*clear)(SSL*);
    if (clear == NULL)
        clear = next("SSL_clear");
    if (SSL_session_reused(ssl)) {
        fputs("wrk_tls: a session was resumed\n", stderr);
        exit(1);
    }
    SSL_set_session(ssl, NULL);
    return clear(ssl);
}
