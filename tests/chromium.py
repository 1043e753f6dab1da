"""A headless chromium that a test looks at a page with, by its pipe for debugging.

Debian has it: ``apt-get install --no-install-recommends chromium``.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess

from chains import DEADLINE_S, wait_until

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
_COMMAND = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-dev-shm-usage", "--remote-debugging-pipe", "about:blank"),
)


@contextlib.contextmanager
def chromium(folder):
    """Start one that keeps its things in `folder`; give its only page."""
    command_in, command_out = os.pipe()
    event_in, event_out = os.pipe()
    # It takes commands from descriptor 3, and answers on descriptor 4.
    script = f'exec 3<&{command_in} 4>&{event_out}; exec "$@"'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", PROGRAM, f"--user-data-dir={folder}", *_COMMAND],
        pass_fds=(command_in, event_out),
        stderr=subprocess.DEVNULL,
    )
    os.close(command_in)
    os.close(event_out)
    try:
        yield Page(command_out, event_in)
    finally:
        os.close(command_out)
        process.wait(DEADLINE_S)
        os.close(event_in)


class ContextLostError(AssertionError):
    """Another page was loaded meanwhile."""


class Page:
    """A page, with what it asked for and what it complained of."""

    def __init__(self, commands, events):
        self._commands = commands
        self._events = events
        self._numbers = itertools.count(1)
        self._rest = b""
        self._session = {}
        self.requests = []
        """Addresses that it has asked for."""
        self.complaints = []
        """Errors and warnings on its console."""
        (target,) = [
            each for each in self.send("Target.getTargets")["targetInfos"] if each["type"] == "page"
        ]
        attached = self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method, **params):
        """Give a command; return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params, **self._session}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                if "context" in answer.get("error", {}).get("message", ""):
                    raise ContextLostError(answer)
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer.get("method"), answer.get("params", {}))

    def _receive(self):
        while b"\0" not in self._rest:
            assert select.select([self._events], [], [], DEADLINE_S)[0], "chromium says nothing"
            data = os.read(self._events, 1 << 20)
            assert data, "chromium has ended"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, method, params):
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"])
        elif method == "Log.entryAdded" and params["entry"]["level"] in {"warning", "error"}:
            self.complaints.append(params["entry"])

    def look(self, *, width=1400, height=1000, dark=False):
        """Be as wide and high, in px, and dark or light."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url):
        """Go to a page."""
        self.send("Page.navigate", url=url)

    def value(self, expression):
        """Return the value of an expression of JavaScript there."""
        given = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        found = self.send("Runtime.evaluate", **given)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_until(self, expression):
        """Wait until an expression is true; return its value."""

        def look():
            with contextlib.suppress(ContextLostError):
                return self.value(expression)

        shown = "document.body?.innerText ?? ''"
        return wait_until(look, lambda: f"{expression} is not so in:\n{self.value(shown)}")

    def press(self, key):
        """Press a key such as ``Tab`` or ``Enter``."""
        pressed = {"key": key, "windowsVirtualKeyCode": {"Tab": 9, "Enter": 13}[key]}
        pressed |= {"text": "\r"} if key == "Enter" else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", **pressed)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def accessible(self):
        """Return role, name and whether it takes the focus, of all that a screen reader tells."""
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        return [
            (
                node.get("role", {}).get("value"),
                node.get("name", {}).get("value"),
                any(each["name"] == "focusable" for each in node.get("properties", ())),
            )
            for node in nodes
            if not node["ignored"]
        ]

    def picture(self):
        """Return what it shows, as WebP."""
        taken = self.send("Page.captureScreenshot", format="webp", quality=60)
        return base64.b64decode(taken["data"])
