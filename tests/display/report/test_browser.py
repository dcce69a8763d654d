"""The page in a real browser without a network: its pictures load, and it never scrolls sideways."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from discovery.app.loaded import LoadedRun
from discovery.display.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

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


@pytest.mark.parametrize("width", [320, 1280])
def test_it_never_scrolls_sideways(page: Path, width: int) -> None:
    assert measured(page, width) == {"wide": width, "broken": 0}
