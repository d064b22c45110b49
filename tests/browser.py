"""Debian's Chromium, headless, with a profile of its own, driven through DevTools."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import time
import urllib.request
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from websockets.sync.client import ClientConnection, connect

DEADLINE_S = 60.0
NAMES = ("chromium", "chromium-browser")


def require_browser() -> str:
    """Its path; without it the test is skipped."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("there is no browser: apt-get install chromium")
    return path


class Browser:
    """A browser with one page. It trusts nobody but who shows this certificate."""

    def __init__(self, folder: Path, certificate: Path, *names: str) -> None:
        self._numbers = count(1)
        self._open = contextlib.ExitStack()
        self._errors = self._open.enter_context((folder / "browser.log").open("wb"))
        profile = folder / "profile"
        self._process = subprocess.Popen(
            [
                require_browser(),
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
                "--no-proxy-server",
                "--remote-debugging-port=0",
                f"--user-data-dir={profile}",
                f"--ignore-certificate-errors-spki-list={_fingerprint(certificate)}",
                "--host-resolver-rules=" + ",".join(f"MAP {name} 127.0.0.1" for name in names),
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            # A sanitizer's runtime is preloaded for fastmesh, not for browsers.
            env={**{key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}, "HOME": str(folder)},
        )
        try:
            self._page = self._open_page(profile)
        except BaseException:
            self.close()
            raise

    def _open_page(self, profile: Path) -> ClientConnection:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            with contextlib.suppress(OSError, StopIteration, IndexError):
                port = (profile / "DevToolsActivePort").read_text().split()[0]
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                    pages = json.load(answer)
                page = next(each for each in pages if each["type"] == "page")
                return self._open.enter_context(connect(page["webSocketDebuggerUrl"], max_size=None, proxy=None))
            assert self._process.poll() is None, Path(self._errors.name).read_text()[-2000:]
            assert time.monotonic() < deadline, "the browser does not open its DevTools"
            time.sleep(0.05)

    def ask(self, method: str, **options: Any) -> dict[str, Any]:
        """A command of the DevTools protocol; its result."""
        number = next(self._numbers)
        self._page.send(json.dumps({"id": number, "method": method, "params": options}))
        while (answer := json.loads(self._page.recv(timeout=DEADLINE_S))).get("id") != number:
            pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def go(self, url: str) -> None:
        error = self.ask("Page.navigate", url=url).get("errorText")
        assert not error, f"{url}: {error}"
        deadline = time.monotonic() + DEADLINE_S
        while self.evaluate("document.readyState + ' ' + location.href") != f"complete {url}":
            assert time.monotonic() < deadline, self.evaluate("document.documentElement.outerHTML")
            time.sleep(0.02)

    def evaluate(self, script: str) -> Any:
        """What a script in the page comes to; promises are waited for."""
        answer = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def close(self) -> None:
        if hasattr(self, "_page"):
            with contextlib.suppress(Exception):
                self.ask("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._open.close()


def _fingerprint(certificate: Path) -> str:
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()
