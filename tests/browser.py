"""Headless Chromium over its debugging pipe: no driver program, no port, one browser for many pages."""

# ruff: noqa: E501 - scripts read better unbroken

import base64
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


# Relative luminance and contrast: WCAG 2.2, success criterion 1.4.3.
CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const rgba = color => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ground = element => { for (let at = element; at; at = at.parentElement) { const c = rgba(getComputedStyle(at).backgroundColor); if (c[3] === 255) return c; } return [255, 255, 255, 255]; };
const low = [];
for (const element of document.body.querySelectorAll("*")) {
  if (["SCRIPT", "STYLE"].includes(element.tagName) || !element.checkVisibility()) continue;
  if (![...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
  const style = getComputedStyle(element), svg = element.namespaceURI.endsWith("svg");
  const [a, b] = [luminance(rgba(svg ? style.fill : style.color)), luminance(ground(element))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) low.push([element.tagName, element.textContent.trim().slice(0, 30), ratio]);
}
return { low, dark: matchMedia("(prefers-color-scheme: dark)").matches, needed: document.documentElement.scrollWidth,
  unnamed: [...document.images].filter(image => !image.alt).length };
"""


@dataclass(frozen=True)
class Seen:
    """What a page did: the script's answer, messages on the console, addresses asked for, and a PNG of all of it."""

    answer: Any
    console: list[str]
    requests: list[str]
    png: bytes


class Browser:
    """Use as a context manager: its process ends with it.

    Args:
        profile: an empty folder for the browser's own files.
    """

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM, "no Chromium here: on Debian `apt install chromium`"
        command = [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={profile}",
            "--remote-debugging-pipe",
        ]  # fmt: skip
        reads, self._to = os.pipe()
        self._from, writes = os.pipe()
        # Chromium wants the pipe as descriptors 3 and 4; a shell puts them there without a race.
        shell = ["bash", "-c", f'exec "$@" 3<&{reads} 4>&{writes}', "bash", *command]
        self._process = subprocess.Popen(
            shell, pass_fds=(reads, writes), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(reads)
        os.close(writes)
        self._rest, self._number, self._events = b"", 0, []

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.ask("Browser.close")
        os.close(self._to)
        os.close(self._from)
        self._process.wait(timeout=30)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._from, 1 << 20)
            if not more:
                raise EOFError("the browser has gone")
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def ask(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and return its result; events meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        while (heard := self._read()).get("id") != self._number:
            self._events.append(heard)
        if "error" in heard:
            raise RuntimeError(f"{method}: {heard['error']['message']}")
        return heard["result"]

    def _wait(self, method: str) -> None:
        while not any(event.get("method") == method for event in self._events):
            self._events.append(self._read())

    def look(
        self,
        page: Path | str,
        script: str = "return null;",
        *,
        width: int = 1200,
        dark: bool = False,
        picture: bool = False,
    ) -> Seen:
        """Open a page in a fresh tab.

        Args:
            page: the file, or an address on 127.0.0.1.
            script: body of a function that runs in the loaded page; what it returns comes back.
            width: of the window in pixels; below 600 as a phone.
            dark: whether the reader prefers dark pages.
            picture: whether to take a picture of the whole page.
        """
        self._events = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        tab = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable", tab)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", tab, **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", tab, features=[scheme])
        url = page if isinstance(page, str) else page.as_uri()
        self.ask("Page.navigate", tab, url=url)
        self._wait("Page.loadEventFired")
        expression = f"(() => {{ {script} }})()"
        result = self.ask("Runtime.evaluate", tab, expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["exception"]["description"])
        png = b""
        if picture:
            height = self.ask("Runtime.evaluate", tab, expression="document.documentElement.scrollHeight")
            # Pictures below the window are loaded when they come into sight: let all of the page be in sight.
            size["height"] = min(16_000, height["result"]["value"])
            self.ask("Emulation.setDeviceMetricsOverride", tab, **size)
            # Those in parts that are folded away never come into sight.
            decoded = """Promise.race([
                Promise.all([...document.images].map(image => image.decode())),
                new Promise(resolve => setTimeout(resolve, 5000)),
            ]).then(() => null)"""
            self.ask("Runtime.evaluate", tab, expression=decoded, awaitPromise=True)
            png = base64.b64decode(self.ask("Page.captureScreenshot", tab, format="png")["data"])
        self.ask("Target.closeTarget", targetId=target)
        # A tab that was closed may still say that the server of its page is gone.
        self._events = [event for event in self._events if event.get("sessionId") == tab]
        return Seen(result["result"].get("value"), self._said(), self._asked(url), png)

    def _said(self) -> list[str]:
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event["params"])[:500] for event in self._events if event.get("method") in kinds]

    def _asked(self, page: str) -> list[str]:
        sent = [event["params"] for event in self._events if event.get("method") == "Network.requestWillBeSent"]
        urls = [one["request"]["url"] for one in sent]
        return [url for url in urls if not url.startswith("data:") and url != page]
