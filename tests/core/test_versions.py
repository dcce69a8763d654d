"""What tells kinds of CPU apart."""

import pytest

from discovery.core import versions

AMD = """\
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
flags\t\t: fpu vme sse2 avx fma avx2 sha_ni
"""
GRAVITON = """\
Features\t: fp asimd evtstrm sve
CPU implementer\t: 0x41
CPU part\t: 0xd40
"""


@pytest.fixture
def cpuinfo(tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(versions, "CPUINFO", path)
    versions.cpu.cache_clear()
    yield path
    versions.cpu.cache_clear()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (AMD, "AMD family 25 model 1, avx2"),
        (AMD + "\n" + AMD.replace(": 25", ": 6").replace("avx2", ""), "AMD family 25 model 1, avx2"),
        (AMD.replace("avx2", "avx2 avx512f"), "AMD family 25 model 1, avx512f"),  # some hosts hide it
        (AMD.replace("AuthenticAMD", "GenuineIntel").replace(": 25", ": 6"), "Intel family 6 model 1, avx2"),
        (GRAVITON, "ARM implementer 0x41 part 0xd40, sve"),
    ],
)
def test_kinds_of_cpu(text, kind, cpuinfo):
    cpuinfo.write_text(text)
    assert versions.cpu() == kind and versions.versions()["cpu"] == kind


def test_a_cpu_that_says_nothing_has_a_name(cpuinfo):
    assert versions.cpu()  # there is no such file
    versions.cpu.cache_clear()
    cpuinfo.write_text("nothing that we know")
    assert versions.cpu()


def test_changes_are_those_of_what_was_recorded():
    now = versions.versions()
    assert versions.changes(now) == [] and versions.changes({}) == []
    assert versions.changes(now | {"cpu": "Z80", "commit": "abc"}) == [f"cpu was Z80, is {now['cpu']}"]
