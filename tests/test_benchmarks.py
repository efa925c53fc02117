"""The parts of the benchmark harness that measure nothing: order, medians, ratios, the table, the groups, crews."""

import operator
import re
from pathlib import Path

import benchmarks
import pytest
from benchmarks import __main__ as bench
from benchmarks import crew
from benchmarks.harness import Row, Setting, interleave, line, table

FOLDER = Path(benchmarks.__file__).parent


def test_sides_take_turns_and_neither_always_goes_first() -> None:
    calls: list[str] = []
    interleave({name: lambda name=name: calls.append(name) or 1.0 for name in "ab"}, repeats=3)
    assert calls == ["a", "b", "b", "a", "a", "b"]


def test_a_side_is_its_median() -> None:
    values = iter([1.0, 100.0, 2.0])
    assert interleave({"noisy": lambda: next(values)}, repeats=3) == {"noisy": 2.0}


def test_ratio_says_how_many_times_better() -> None:
    assert Row(comparison="rate", ours=6.0, baseline=2.0).ratio == 3
    assert Row(comparison="time", ours=2.0, baseline=6.0, lower_is_better=True).ratio == 3
    assert Row(comparison="alone", ours=2.0).ratio is None


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row(comparison="", ours=6.0, baseline=2.0, goal=3.0), True),
        (Row(comparison="", ours=6.0, baseline=2.0, goal=3.1), False),
        (Row(comparison="", ours=19.0, goal=20.0, lower_is_better=True), True),
        (Row(comparison="", ours=21.0, goal=20.0, lower_is_better=True), False),
        (Row(comparison="", ours=0.6, goal=0.65), False),
        (Row(comparison="", ours=1.0), None),
        (Row(comparison="", goal=2.0), None),
    ],
)
def test_goal_is_of_the_ratio_or_of_the_number(row: Row, met: bool | None) -> None:
    assert row.is_met is met


def test_table_is_markdown() -> None:
    rows = [
        Row(comparison="steps", ours=12345.6, baseline=1000.04, unit="steps/s", goal=8.0, beside="a|b"),
        Row(comparison="wait", ours=0.01234, unit="s", goal=20.0, lower_is_better=True),
        Row(comparison="elsewhere", beside="no GPU"),
    ]
    assert table(rows).splitlines()[2:] == [
        "| steps | 12,346 steps/s | 1,000 steps/s | 12.3x | 8x | yes | a\\|b |",
        "| wait | 0.0123 s | – | – | at most 20 s | yes |  |",
        "| elsewhere | – | – | – | – | – | no GPU |",
    ]


def test_document_names_the_machine_and_holds_every_row() -> None:
    rows = [Row(comparison="one", ours=1.0), Row(comparison="two", ours=2.0)]
    text = bench.document(rows, ["CPU: abacus"], minutes=3.0)
    assert "- CPU: abacus\n" in text
    assert text.endswith(table(rows))


def test_a_group_that_fails_is_a_row_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(setting: Setting) -> None:
        raise RuntimeError("counting\nout of beads")

    from benchmarks import peak

    monkeypatch.setattr(peak, "rows", rows)
    (row,) = bench.measure("peak", Setting())
    assert bench.FAILED in row.comparison
    assert line(row).endswith("| RuntimeError: out of beads |")


def test_every_module_with_rows_is_registered() -> None:
    having = {path.stem for path in FOLDER.glob("*.py") if re.search(r"^def rows\(", path.read_text(), re.MULTILINE)}
    assert having == {*benchmarks.GROUPS, *benchmarks.APART}


def test_only_known_groups_are_asked_for() -> None:
    assert bench.parse(["--only", "peak"]).only == ["peak"]
    with pytest.raises(SystemExit):
        bench.parse(["--only", "nothing"])


def test_a_crew_whose_member_fails_is_not_waited_for(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EOFError):
        crew.gather(operator.index, members=1, threads=1)  # which takes no such arguments
    assert "TypeError" in capfd.readouterr().err
