"""A page in a real browser, without a display: what it says, and what it looks like.

Makes a screenshot of a view (`tools/view.py`), 1200 x 800 pixels:

    python tests/browser.py view.html "mode=instances&top=2" picture.png
"""

import html
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np

from mtml_tf.backend import tf
from mtml_tf.drawing.png import write_png

SIZE = (1200, 800)
_FRAME = 87  # pixels of the window's height that a headless browser does not give the page
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--no-first-run",
    "--test-type",  # no bar that takes height from the page
    "--hide-scrollbars",
    # WebGL without a GPU.
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    # The page's own clock, which waits for what is being loaded and drawn.
    "--virtual-time-budget=5000",
)


def find_browser():
    """Returns the path of a Chromium, or None where there is none."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


def _address(page, fragment):
    return pathlib.Path(page).resolve().as_uri() + "#" * bool(fragment) + fragment


def _run(page, fragment, size, *flags):
    width, height = size
    with tempfile.TemporaryDirectory() as profile:
        command = [find_browser(), *_FLAGS, f"--user-data-dir={profile}", *flags]
        command += [f"--window-size={width},{height + _FRAME}", _address(page, fragment)]
        done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return done.stdout.decode("utf-8")


def read_state(page, fragment="", size=SIZE):
    """Returns what the page says when it has come to rest: `errors`, and the body's data."""
    text = _run(page, fragment, size, "--dump-dom")
    (body,) = re.findall(r"<body[^>]*>", text)
    (errors,) = re.findall(r'<div id="errors"[^>]*>(.*?)</div>', text, re.DOTALL)
    state = {name: html.unescape(value) for name, value in re.findall(r'data-(\w+)="(.*?)"', body)}
    return {**state, "errors": html.unescape(errors).strip()}


def screenshot(page, fragment="", size=SIZE):
    """Returns uint8 [H, W, 3], the page when it has come to rest."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "page.png"
        _run(page, fragment, size, f"--screenshot={path}")
        image = tf.io.decode_png(path.read_bytes(), channels=3).numpy()
    return image[: size[1]]


def screenshots(page, fragments, size):
    """Returns a list of uint8 [H, W, 3], the page at several addresses, opened side by side."""
    width, height = size
    with tempfile.TemporaryDirectory() as folder:
        frames = [
            f'<iframe src="{html.escape(_address(page, fragment))}" width="{width}" '
            f'height="{height}" style="border: 0; display: block"></iframe>'
            for fragment in fragments
        ]
        sheet = pathlib.Path(folder) / "sheet.html"
        sheet.write_text('<!DOCTYPE html><body style="margin: 0">' + "".join(frames))
        image = screenshot(sheet, "", (width, height * len(fragments)))
    return [image[i * height : (i + 1) * height] for i in range(len(fragments))]


if __name__ == "__main__":
    write_png(pathlib.Path(sys.argv[3]), np.array(screenshot(*sys.argv[1:3])), overwrite=True)
