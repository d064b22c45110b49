"""Once a day, certificates that are about to expire are named."""

import asyncio
import time

from fastmesh.config import CertificateFile
from fastmesh.control import expiry
from fastmesh.control.state import State
from fastmesh.identity.validity import Validity

DAY_S = 86_400


def test_those_that_end_soon_are_named_again_and_again(monkeypatch, caplog):
    monkeypatch.setattr(expiry, "INTERVAL_S", 0.01)
    now_s = int(time.time())
    soon, later = Validity(now_s - 90 * DAY_S, now_s + 10 * DAY_S), Validity(now_s - 90 * DAY_S, now_s + 20 * DAY_S)
    state = State("config", 1)
    state.certificates = (
        CertificateFile("certs/soon.crt", False, (), soon, ("listeners.web", "services.hello")),
        CertificateFile("certs/later.crt", False, (), later, ("listeners.web",)),
    )

    async def main() -> None:
        task = asyncio.ensure_future(expiry.warn_daily(state))
        while caplog.text.count("certs/soon.crt") < 2:
            await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(asyncio.wait_for(main(), 10))
    assert "certificate certs/soon.crt of listeners.web, services.hello: it expires on" in caplog.text
    assert "later.crt" not in caplog.text
