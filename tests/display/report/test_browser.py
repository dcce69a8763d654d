"""The page in a real browser without a network: it renders, in silence, and never scrolls sideways."""

import re
import shutil
import subprocess
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from discovery.app.loaded import LoadedRun
from discovery.display.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE, DESK = 390, 1280

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]


@pytest.fixture(scope="module")
def page(made: LoadedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(made, tmp_path_factory.mktemp("browser") / "page.html")


def run(page: Path, *options: str) -> tuple[str, str]:
    """What the browser printed on both its outputs, without a network."""
    command = [
        str(CHROMIUM),
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--enable-logging=stderr",
        f"--user-data-dir={page.parent / 'profile'}",
        *options,
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout, done.stderr


def shot(page: Path, width: int, height: int, dark: bool = False) -> tuple[np.ndarray, str]:
    """A screenshot ``[height, width, 3]`` in 0 to 1, and what the browser said."""
    out = page.with_name(f"{page.stem}-{width}-{dark}.png")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    _, said = run(page, f"--window-size={width},{height}", f"--screenshot={out}", scheme)
    assert out.exists(), said
    return matplotlib.image.imread(out)[..., :3], said


def measured(page: Path, width: int) -> dict[str, int]:
    """What a frame of some width finds of a page: how wide it is, and its pictures that did not load."""
    frame = page.with_name("frame.html")
    frame.write_text(
        f"""<!DOCTYPE html><iframe src="{page.name}" style="border:0;width:{width}px;height:600px"></iframe>
        <script>
        document.querySelector("iframe").onload = (event) => {{
          const inside = event.target.contentDocument
          const broken = [...inside.images].filter((image) => !image.complete || !image.naturalWidth).length
          document.body.append(`wide ${{inside.documentElement.scrollWidth}} broken ${{broken}} end`)
        }}</script>"""
    )
    printed, said = run(frame, "--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom")
    found = re.search(r"wide (\d+) broken (\d+) end", printed)
    assert found, said
    return {"wide": int(found[1]), "broken": int(found[2])}


def complaints(said: str) -> list[str]:
    """What the page made the browser say, its own troubles with this machine apart."""
    return re.findall(r".*(?:CONSOLE|Uncaught|net::ERR|Refused to).*", said)


@pytest.mark.parametrize("width", [DESK, PHONE])
@pytest.mark.parametrize("dark", [False, True])
def test_it_renders_in_silence(page: Path, width: int, dark: bool) -> None:
    image, said = shot(page, width, 4000, dark)
    assert image.shape == (4000, width, 3)
    assert not complaints(said)
    paper = image[2, 2]
    assert bool(paper.mean() < 0.2) == dark
    assert np.mean(np.abs(image - paper).max(axis=2) > 0.3) > 0.02  # there is something on it


def test_figures_are_on_white_in_the_dark(page: Path) -> None:
    """Their own lines are dark."""
    image, _ = shot(page, DESK, 6000, dark=True)
    assert np.mean(image.min(axis=2) > 0.99) > 0.05


@pytest.mark.parametrize("width", [320, PHONE, 768, DESK])
def test_it_never_scrolls_sideways(page: Path, width: int) -> None:
    assert measured(page, width) == {"wide": width, "broken": 0}
