"""A real DNS server on loopback that answers from a table and counts the questions."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class DnsServer(asyncio.DatagramProtocol):
    """`records[name, "A"]` is (ttl, addresses); `aliases[name]` is (ttl, name); `rcodes[name]` fails a name."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], tuple[int, list[str]]] = {}
        self.aliases: dict[str, tuple[int, str]] = {}
        self.rcodes: dict[str, dns.rcode.Rcode] = {}
        self.questions: Counter[tuple[str, str]] = Counter()
        self.port = 0

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = self.transport.get_extra_info("sockname")[1]

    def close(self) -> None:
        self.transport.close()

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.questions[name, kind] += 1
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if name in self.rcodes:
            answer.set_rcode(self.rcodes[name])
        elif not self._fill(answer, name, kind):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(answer.to_wire(), address)

    def _fill(self, answer: dns.message.Message, name: str, kind: str) -> bool:
        """Whether the name exists at all."""
        if name in self.aliases:
            ttl, alias = self.aliases[name]
            answer.answer.append(dns.rrset.from_text(name + ".", ttl, "IN", "CNAME", alias + "."))
            return self._fill(answer, alias, kind)
        if (name, kind) in self.records:
            ttl, addresses = self.records[name, kind]
            if addresses:
                answer.answer.append(dns.rrset.from_text(name + ".", ttl, "IN", kind, *addresses))
        return any(known == name for known, _ in self.records)


@contextmanager
def serving() -> Iterator[DnsServer]:
    """A server on a thread of its own; its tables may be changed while it runs."""
    server = DnsServer()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
