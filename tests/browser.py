"""A real headless Chromium, spoken to over a pipe (the DevTools protocol): pages from disk, keys, what they ask for."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_SECONDS = 60.0
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--remote-debugging-pipe", "--force-color-profile=srgb", "--lang=en-US",
)  # fmt: skip
KEYS = {
    "Enter": ("\r", 13),
    "Escape": ("", 27),
    "Tab": ("", 9),
    "Home": ("", 36),
    "End": ("", 35),
    "PageDown": ("", 34),
}
KEYS |= {f"Arrow{side}": ("", 37 + number) for number, side in enumerate(("Left", "Up", "Right", "Down"))}


class Browser:
    """One process of Chromium. Commands go in at its descriptor 3 and answers come out at 4, each ended by a zero."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        theirs, self._out = os.pipe()
        self._in, ours = os.pipe()
        redirected = f'exec "$@" 3<&{theirs} 4>&{ours}'
        command = ["bash", "-c", redirected, "bash", CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            command,
            pass_fds=(theirs, ours),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(ours)
        self._rest = b""
        self._number = 0
        self.events: list[tuple[str, dict[str, Any]]] = []  # of all pages, in order

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            found = self.read()
            if found.get("id") == self._number:
                assert "error" not in found, (method, found["error"])
                answer: dict[str, Any] = found["result"]
                return answer

    def read(self) -> dict[str, Any]:
        """Read one message; an event is kept."""
        while b"\0" not in self._rest:
            assert select.select([self._in], [], [], PATIENCE_SECONDS)[0], "the browser says nothing"
            data = os.read(self._in, 1 << 20)
            assert data, "the browser has died"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        if "method" in found:
            self.events.append((found["method"], found.get("params", {})))
        return found

    def page(self, *, width: int = 1280, height: int = 800, dark: bool = False) -> Page:
        """Open an empty page."""
        context = self.ask("Target.createBrowserContext")["browserContextId"]  # what one page remembers is its own
        target = self.ask("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, context)
        for domain in ("Page", "Runtime", "Network", "Log", "Performance"):
            page.ask(f"{domain}.enable")
        page.resize(width, height)
        page.ask(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )
        return page

    def close(self) -> None:
        """End the browser."""
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)


@dataclass
class Page:
    """One tab."""

    browser: Browser
    session: str
    context: str
    began: int = field(default=0)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.browser.ask(method, self.session, **parameters)

    def resize(self, width: int, height: int) -> None:
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, address: str) -> None:
        """Go to a page and wait until it is loaded."""
        self.began = len(self.browser.events)
        self.ask("Page.navigate", url=address)
        while "Page.loadEventFired" not in [name for name, _ in self.browser.events[self.began :]]:
            self.browser.read()

    def run(self, code: str) -> Any:
        """Evaluate JavaScript; a promise is waited for."""
        answer = self.ask("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true, looking at every frame that is drawn."""
        patience = int(PATIENCE_SECONDS * 1000)
        found = self.run(
            "new Promise((done) => { const began = performance.now(); const look = () => "
            f"({condition}) ? done(true) : performance.now() - began > {patience} ? done(false) : "
            "requestAnimationFrame(look); look(); })"
        )
        assert found, f"it never came to this: {condition}"

    def press(self, key: str) -> None:
        """Press and release a key."""
        text, code = KEYS.get(key, (key, ord(key.upper()[0])))
        facts = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **facts)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **facts)

    def type(self, element: str, text: str) -> None:
        """Put the keyboard on an element, and words where it is."""
        self.run(f"document.getElementById({json.dumps(element)}).focus()")
        self.run(f"document.getElementById({json.dumps(element)}).select()")
        self.ask("Input.insertText", text=text)

    def choose(self, element: str, value: str) -> None:
        """Choose from a list, as a person does."""
        self.run(
            f"(() => {{ const found = document.getElementById({json.dumps(element)}); found.value = {json.dumps(value)}; "
            "found.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )

    def happened(self, name: str) -> list[dict[str, Any]]:
        """Return the events of a kind since the page was opened."""
        self.run("0")  # what came before it has been read now
        return [facts for kind, facts in self.browser.events[self.began :] if kind == name]

    def requests(self) -> list[str]:
        """Return every address that the page asked for."""
        return [facts["request"]["url"] for facts in self.happened("Network.requestWillBeSent")]

    def picture(self, path: Path) -> None:
        """Write a screenshot."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser with a profile of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(Path(profile))
        try:
            yield browser
        finally:
            browser.close()
