"""Says once a day which certificates are about to expire. What is so when they are loaded, the loader says."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastmesh.control.state import State

INTERVAL_S = 86_400.0

log = logging.getLogger(__name__)


async def warn_daily(state: State) -> None:
    """Runs until cancelled."""
    while True:
        await asyncio.sleep(INTERVAL_S)
        for file in state.certificates:
            if said := file.validity.warning(time.time()):
                log.warning("certificate %s of %s: %s", file.name, ", ".join(file.used_by), said)
