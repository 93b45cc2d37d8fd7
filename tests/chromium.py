"""A real browser for tests: Debian's chromium, spoken to in the W3C WebDriver protocol."""

import base64
import contextlib
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)

DRAWN = """
const done = arguments[arguments.length - 1];
requestAnimationFrame(() => requestAnimationFrame(() => done(null)));
"""


def missing() -> str:
    """What a browser test lacks here; empty if nothing."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not installed" if absent else ""


class BrowserError(Exception):
    """The driver refused or failed a command; what it said."""


class Browser:
    """One window. Coordinates and sizes are CSS pixels."""

    def __init__(self, address: str) -> None:
        self.address = address

    def call(self, method: str, path: str, **body: Any) -> Any:
        """One WebDriver command; its value."""
        request = urllib.request.Request(
            self.address + path,
            data=json.dumps(body).encode() if method == "POST" else None,
            headers={"Content-Type": "application/json"},
            method=method,
        )
        # no proxy that the machine may have: the driver is on this very machine
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            raise BrowserError(f"{method} {path}: {error.code}: {said[:500]}") from error

    def devtools(self, command: str, **parameters: Any) -> Any:
        """A command of Chromium's own protocol."""
        return self.call("POST", "/goog/cdp/execute", cmd=command, params=parameters)

    def show(self, path: Path, *, width: int, height: int = 800, dark: bool = False) -> None:
        """Open a file as a screen of this size and colour scheme shows it; until it is drawn.

        A key that is pressed between loading and the first frame is lost on a busy machine.
        """
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])
        self.call("POST", "/url", url=path.as_uri())
        self.call("POST", "/execute/async", script=DRAWN, args=[])

    def run(self, script: str) -> Any:
        """The value that a piece of JavaScript returns."""
        return self.call("POST", "/execute/sync", script=script, args=[])

    def press_tab(self) -> None:
        """Move the focus on, as the key does."""
        key = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
        self.devtools("Input.dispatchKeyEvent", type="keyDown", **key)
        self.devtools("Input.dispatchKeyEvent", type="keyUp", **key)

    def complaints(self) -> list[str]:
        """What the browser's console said since the last call: errors, blocked loads."""
        entries = self.call("POST", "/se/log", type="browser")
        return [entry["message"] for entry in entries]

    def picture(self) -> bytes:
        """The whole page as PNG.

        On a busy machine Chromium at times has no frame to copy yet and says that it is unable to
        capture one; what is on the page does not depend on when it is looked at.
        """
        for pause in (0.5, 1, 2, 4, None):
            try:
                answer = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)
                break
            except BrowserError:
                if pause is None:
                    raise
                time.sleep(pause)
        return base64.b64decode(answer["data"])


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A browser of its own with an empty profile; ended with the block."""
    with tempfile.TemporaryDirectory() as profile:
        driver = subprocess.Popen(
            ["chromedriver", "--port=0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert driver.stdout is not None
            port = next(
                found[1]
                for line in driver.stdout
                if (found := re.search(r"started successfully on port (\d+)", line))
            )
            window = Browser(f"http://127.0.0.1:{port}")
            options = {"args": [*FLAGS, f"--user-data-dir={profile}"]}
            session = window.call(
                "POST",
                "/session",
                capabilities={
                    "alwaysMatch": {
                        "goog:chromeOptions": options,
                        "goog:loggingPrefs": {"browser": "ALL"},
                    }
                },
            )
            window.address += f"/session/{session['sessionId']}"
            try:
                yield window
            finally:
                window.call("DELETE", "")
        finally:
            driver.terminate()
            driver.wait(10)
            assert driver.stdout is not None
            driver.stdout.close()
