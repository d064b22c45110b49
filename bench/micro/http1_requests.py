"""Typical requests by size, for benchmarks."""

REQUESTS: dict[str, bytes] = {
    "small": b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n",
    "api": (
        b"GET /api/v1/items?page=2 HTTP/1.1\r\nHost: shop.example.org\r\nUser-Agent: python/3.14 aiohttp/3.13\r\n"
        b"Accept: */*\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nX-User-Group: beta\r\n"
        b"Authorization: Bearer 0123456789abcdef0123456789abcdef\r\nContent-Type: application/json\r\n"
        b"X-Request-Id: 01234567-89ab-4cde-8f01-23456789abcd\r\nX-Api-Key: 0123456789\r\n\r\n"
    ),
    "browser": (
        b"GET /api/v1/items?page=2&sort=name HTTP/1.1\r\nHost: shop.example.org\r\n"
        b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
        b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
        b"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n"
        b"Cookie: session=0123456789abcdef; theme=dark\r\n"
        b"Referer: https://shop.example.org/\r\nCache-Control: max-age=0\r\nX-User-Group: beta\r\n\r\n"
    ),
}
