"""The page: every number is in report.json, nothing comes from outside, and no name can break it."""

import itertools
import json
import re
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
import pytest

from discovery.app.loaded import LoadedRun, load_run
from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput
from discovery.display.report import write_report
from discovery.display.report.markup import duration, estimate, html, number, percent, table, tag
from discovery.display.report.page import SECTIONS
from discovery.statistics import Interval
from discovery.store.run import Run
from tests.display.report.fabricated import CONFIG, FAR, NEAR, begin, evaluate, report, request, search
from tests.display.report.pages import NUMBER, Page, numbers, rounds, strings
from tests.ids import request_id

EXAMPLE = Path(__file__).parents[3] / "docs/reports/drift-classic.html"


@pytest.fixture(scope="module")
def written(made: LoadedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(made, tmp_path_factory.mktemp("written") / "found.html")


@pytest.fixture(scope="module")
def page(written: Path) -> Page:
    return Page(written.read_text(encoding="utf-8"))


def checked(run: LoadedRun, folder: Path) -> Page:
    """The page of a run, with everything checked that must hold for all."""
    return checked_file(write_report(run, folder / "page.html"))


def checked_file(path: Path) -> Page:
    source = path.read_text(encoding="utf-8")
    found = Page(source)
    assert len(found.ids) == len(set(found.ids))
    links = [value for tag, name, value in found.attributes if (tag, name) == ("a", "href")]
    assert {link.removeprefix("#") for link in links} <= set(found.ids)
    _nothing_from_outside(found, source)
    _every_number_is_in(json.loads(path.with_suffix(".json").read_text(encoding="utf-8")), found)
    return found


def _nothing_from_outside(found: Page, source: str) -> None:
    assert "script" not in found.tags
    for name, value in ((name, value) for _, name, value in found.attributes):
        assert not name.startswith("on")
        if name in ("src", "href"):
            assert value.startswith(("data:", "#")), value[:80]
    styles = "".join(re.findall(r"<style>(.*?)</style>", source, re.DOTALL))
    assert styles
    assert "url(" not in styles
    assert "@import" not in styles


def _every_number_is_in(data: dict, found: Page) -> None:
    known = numbers(data)
    texts = {"".join(c if c.isprintable() or c == "\n" else "?" for c in text) for text in strings(data)}
    assert found.data
    for value, text in found.data:
        assert float(value) in known, f"{text} ({value}) is not in report.json"
        assert rounds(float(value), text), f"{text} is not {value}"
    for cell in found.cells:
        bare = cell
        for text in sorted((text for text in texts if re.search(r"\d", text)), key=len, reverse=True):
            bare = bare.replace(text, "")
        bare = re.sub(r"r [<>] 1|A [<>] 0", "", bare)
        assert not NUMBER.search(bare.replace("95%", "")), f"a number of its own: {cell!r}"


def test_every_number_of_the_page_is_in_the_json(written: Path) -> None:
    found = checked_file(written)
    assert len(found.data) > 150
    assert len(found.tables) >= 12


def test_the_example_is_such_a_page() -> None:
    """The report that the documents show, of a search of 7,904 trainings."""
    assert len(checked_file(EXAMPLE).data) > 500


def test_a_made_up_number_would_be_found(made: LoadedRun, written: Path) -> None:
    """Guards the guard."""
    data = json.loads(written.with_suffix(".json").read_text(encoding="utf-8"))
    source = written.read_text(encoding="utf-8")
    place = source.index('<td class="number"><data')
    with pytest.raises(AssertionError, match="number of its own"):
        _every_number_is_in(data, Page(source[:place] + "<td>123</td>" + source[place:]))
    first = re.search(r'<data value="([^"]*)">', source)
    assert first
    with pytest.raises(AssertionError, match=r"is not in report\.json"):
        _every_number_is_in(data, Page(source.replace(first[0], '<data value="0.123454321">', 1)))
    with pytest.raises(AssertionError, match="is not"):
        _every_number_is_in(data, Page(re.sub(r'(<data value="8.5">)8.5', r"\g<1>8.6", source)))


def test_sections_and_headings(page: Page) -> None:
    anchors = [value for tag, name, value in page.attributes if (tag, name) == ("section", "id")]
    assert anchors == list(SECTIONS)
    assert [text for level, text in page.headings if level == 1] == ["made"]
    levels = [level for level, _ in page.headings]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_every_section_says_what_reproduces_its_numbers(made: LoadedRun, written: Path) -> None:
    source = written.read_text(encoding="utf-8")
    sections = dict(re.findall(r'<section id="(\w+)">(.*?)</section>', source, re.DOTALL))
    assert list(sections) == list(SECTIONS)
    missing = [name for name, text in sections.items() if "<code>discovery " not in text]
    assert not missing
    for name in ("cost", "failures", "looks", "objective", "limits"):
        assert "<code>discovery report made</code>" in sections[name], name


def test_tasks_that_are_not_part_of_the_search_stand_apart(tmp_path: Path) -> None:
    with begin(CONFIG, tmp_path) as run:
        search(run)
        for subject, source in (("discovered", "made@1"), ("ppo", "")):
            report(run.ledger, subject, "other", [1.0, 2.0], source)
    found = checked(load_run(run.folder), tmp_path)
    titles = [text for _, text in found.headings]
    assert titles.index("On tasks that are not part of the search") > titles.index("On held-out tasks")
    assert "not yet judged" in found.text and "they have no say in the verdict" in found.text


def test_pictures_and_tables_can_be_read_without_eyes(page: Page) -> None:
    alts = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert len(alts) == page.tags.count("img") == 7
    assert all(len(alt) > 40 for alt in alts)
    assert page.tags.count("caption") == page.tags.count("table")
    scopes = [value for tag, name, value in page.attributes if (tag, name) == ("th", "scope")]
    assert len(scopes) == page.tags.count("th")
    assert ("html", "lang", "en") in page.attributes


def test_what_it_says(page: Page) -> None:
    assert "confirmed" in page.text
    assert "found minus ppo on far, 16 paired seeds" in page.text
    rows = [row for rows in page.tables for row in rows]
    (judged,) = [row for row in rows if row[-1] == "above"]
    assert judged[:4] == ["far", "ppo", "1", "16"]
    assert ["search", "4", "1", "4,096", "0:06", "0:02"] in rows
    assert any(row[:2] == ["search", "crashed"] for row in rows)
    assert "it broke <b>here</b>" in page.text
    assert "discovery evaluate made ppo --sweep learning_rate=0.5,1,2" in page.text


def test_it_is_small(written: Path) -> None:
    assert written.stat().st_size < 1_000_000
    assert written.with_suffix(".json").stat().st_size < 100_000


@pytest.mark.slow
def test_equal_runs_give_equal_pages(made: LoadedRun, written: Path, tmp_path: Path) -> None:
    again = write_report(made, tmp_path / "again.html")
    assert again.read_bytes() == written.read_bytes()


EVIL = "<script>alert(1)</script>\"'&$x^2$\x07"


def test_no_name_can_break_it(tmp_path: Path) -> None:
    config = replace(CONFIG, tasks=(replace(NEAR, name=EVIL),), held_out=(replace(FAR, name=f"far {EVIL}"),))
    with begin(config, tmp_path) as run:
        search(run)
        for subject in (EVIL, "ppo"):
            report(run.ledger, subject, f"far {EVIL}", [1.0, 2.0], "")
        run.ledger.record_test(EVIL, [EVIL], [EVIL], 2, 0)
    found = checked(load_run(run.folder), tmp_path)
    assert "<script>alert(1)</script>" in found.text


# Runs of every kind --------------------------------------------------------------------------------


def test_a_run_that_has_not_begun(tmp_path: Path) -> None:
    Run.create(CONFIG, tmp_path, name="new").close()
    found = checked(load_run(tmp_path / "new"), tmp_path)
    assert "not yet judged" in found.text
    assert "No generation is closed yet." in found.text
    assert "discovery evaluate new ppo dpo --seeds 32 --test" in found.text


def test_a_run_that_was_interrupted_in_its_first_generation(tmp_path: Path) -> None:
    with begin(CONFIG, tmp_path) as run:
        run.ledger.propose([request("g0/p0"), request("g0/p1")])
        evaluate(run.ledger, "g0/p0", "near", [2.0, None])
    found = checked(load_run(run.folder), tmp_path)
    assert "discovery resume made" in found.text
    assert "0 of 1 generations are closed" in found.text


def test_a_run_whose_trainings_all_failed(tmp_path: Path) -> None:
    with begin(CONFIG, tmp_path) as run:
        run.ledger.propose([request("g0/p0"), request("g0/p1"), request("g0/answer")])
        for name in ("g0/p0", "g0/p1", "g0/answer"):
            evaluate(run.ledger, name, "near", [None, None])
        scores = {request_id("g0/p0"): float("nan"), request_id("g0/p1"): float("nan")}
        run.ledger.close_generation(0, {"x": np.zeros(1)}, {}, scores)
        for subject, source in (("initial mean", "made@0"), ("ppo", "")):
            report(run.ledger, subject, "far", [None] * 16, source)
    found = checked(load_run(run.folder), tmp_path)
    assert "not yet judged" in found.text
    assert "crashed" in found.text


def test_several_tasks_and_selection_tasks(tmp_path: Path) -> None:
    other, chosen = replace(NEAR, name="other"), replace(NEAR, name="chosen on")
    with begin(replace(CONFIG, tasks=(NEAR, other), selection=(chosen,)), tmp_path) as run:
        ledger = run.ledger
        ledger.propose([request("g0/p0"), request("g0/p1"), request("g0/answer")])
        for name in ("g0/p0", "g0/p1"):
            for task in ("near", "other"):
                evaluate(ledger, name, task, [2.0, 4.0])
        evaluate(ledger, "g0/answer", "chosen on", [1.0, 3.0])
    found = checked(load_run(run.folder), tmp_path)
    rows = [row for rows in found.tables for row in rows]
    assert ["chosen on: CartPole-v1", "selection"] in [row[:2] for row in rows]


@pytest.mark.parametrize("algorithm", ["a2c", "random", "nowhere.at_all:made"])
def test_algorithms_without_a_drift(algorithm: str, tmp_path: Path) -> None:
    base = replace(CONFIG, algorithm_options={}, tasks=(replace(NEAR, numbers={}),))
    named = replace(base, algorithm="a2c" if ":" in algorithm else algorithm)
    with begin(named, tmp_path) as run:
        search(run)
    if ":" in algorithm:  # its code was there when the run was made, and is gone
        path = run.folder / "config.toml"
        path.write_text(path.read_text().replace('algorithm = "a2c"', f'algorithm = "{algorithm}"'))
    found = checked(load_run(run.folder), tmp_path)
    said = "not a drift" if algorithm == "a2c" else "There is no objective to draw"
    assert said in found.text


# Files ---------------------------------------------------------------------------------------------


def test_where_it_is_written(tmp_path: Path) -> None:
    Run.create(CONFIG, tmp_path, name="new").close()
    run = load_run(tmp_path / "new")
    assert write_report(run) == run.folder / "report.html"
    assert {path.name for path in run.folder.glob("report*")} == {"report.html", "report.json"}
    with pytest.raises(BadInput, match="is a folder"):
        write_report(run, tmp_path)
    with pytest.raises(BadInput, match=r"end its name in \.html"):
        write_report(run, tmp_path / "report.json")
    with pytest.raises(BadInput, match="cannot be written"):
        write_report(run, run.folder / "config.toml" / "x.html")


def test_config_is_shown_whole(made: LoadedRun, page: Page) -> None:
    assert (made.folder / "config.toml").read_text() in page.text
    assert isinstance(made.config, SearchConfig)


# Markup --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"),
        (0.0, "0"),
        (-1.5, "−1.5"),
        (12345.6, "12,346"),
        (2e-5, "2e−05"),
        (3.14159, "3.142"),
    ],
)
def test_numbers_are_rounded_for_people_only(value: float, text: str) -> None:
    assert number(value) == f'<data value="{value!r}">{text}</data>'
    assert rounds(value, text)


def test_what_is_no_number() -> None:
    nothing = Interval(float("nan"), -np.inf, np.inf, 0.95, 0)
    for text in (number(float("nan")), estimate(nothing), percent(None), duration(None), html(None)):
        assert text == "–"
    assert estimate(Interval(1.5, -np.inf, np.inf, 0.95, 1)) == '<data value="1.5">1.5</data>'


def test_estimates_show_two_digits_of_their_width() -> None:
    shown = Page(estimate(Interval(1.23456, 1.1, 1.4, 0.95, 9), signed=True)).text
    assert shown == "1.23[1.10, 1.40]" or shown == "+1.23 [1.10, 1.40]"


def test_everything_is_escaped() -> None:
    assert html("<b>") == "&lt;b&gt;"
    assert tag("p", "<i>", title='"x"') == '<p title="&quot;x&quot;">&lt;i&gt;</p>'
    assert escape("<caption>") in table("<caption>", ["a"], [["<td>"]])
    assert table("empty", ["a"], []) == ""
