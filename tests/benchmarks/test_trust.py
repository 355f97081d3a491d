"""The trust harness notices what it is there for, shown on targets that break each promise."""

from __future__ import annotations

import mmap
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trust
from hsrl_gym.errors import HsrlError
from promises import commands, determinism, fuzz, kills, memory
from promises.judgement import complaint
from promises.promise import Finding, Say, report
from promises.samples import SAMPLES

ROOT = Path(__file__).parents[2]
GOOD = Finding("good things stay", "by hand", "3 of 3", True)
BAD = Finding("nothing | breaks", "by hand", "1 of 3", False, ["it broke"])

# --- the command


def part(outcome: Finding | Exception, option: str = "cases") -> trust.Part:
    def run(n: int, given: Namespace, say: Say) -> Finding:
        say(f"{n} of them")
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return trust.Part(option, "things", 7, 2, run)


def command(monkeypatch: pytest.MonkeyPatch, parts: dict[str, trust.Part], *arguments: str) -> int:
    monkeypatch.setattr(trust, "PARTS", parts)
    return trust.main(arguments)


def test_a_promise_that_is_not_kept_gives_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {"good": part(GOOD), "bad": part(BAD, "kills"), "broken": part(RuntimeError("no way"), "steps")}
    out = f"--out={tmp_path}"
    assert command(monkeypatch, parts, out, "--only=good", "--short") == 0
    assert "2 of them" in capsys.readouterr().out
    assert command(monkeypatch, parts, out, "--only=good", "--cases=5") == 0
    assert "5 of them" in capsys.readouterr().out
    assert command(monkeypatch, parts, out) == 1
    text = (tmp_path / "REPORT.md").read_text(encoding="utf-8")
    assert "| good things stay | by hand | 3 of 3 | yes |" in text
    assert "| nothing \\| breaks | by hand | 1 of 3 | NO |\n" in text
    assert "- it broke\n" in text
    assert "| broken: could not be tested | things | none | NO |" in text
    assert "- RuntimeError: no way\n" in text
    assert "- it broke" in capsys.readouterr().out


def test_an_interruption_leaves_the_report_of_what_is_finished(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(n: int, given: Namespace, say: Say) -> Finding:
        raise KeyboardInterrupt

    parts = {"good": part(GOOD), "long": trust.Part("steps", "steps", 1, 1, interrupted)}
    assert command(monkeypatch, parts, f"--out={tmp_path}") == 130
    assert "good things stay" in (tmp_path / "REPORT.md").read_text(encoding="utf-8")
    expected = f"trust.py: interrupted in long; {tmp_path / 'REPORT.md'} has the parts before it.\n"
    assert capsys.readouterr().err == expected


def test_an_unknown_part_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trust.main([f"--out={tmp_path}", "--only=fuz"]) == 2
    assert capsys.readouterr().err == "trust.py: unknown part 'fuz'; did you mean fuzz?\n"


def test_the_page_of_the_site_takes_the_table_of_a_report() -> None:
    text = report("commit 12345678", "make trust", [GOOD])
    table = text.partition("<!-- --8<-- [start:table] -->\n")[2].partition("<!-- --8<-- [end:table] -->")[0]
    assert table.splitlines()[-1] == "| good things stay | by hand | 3 of 3 | yes |"
    committed = (ROOT / "benchmarks/results/trust/REPORT.md").read_text(encoding="utf-8")
    assert "[start:table]" in committed


# --- kills

WRITES = """
import sys, time
from pathlib import Path
out = Path(sys.argv[1]); out.mkdir(exist_ok=True)
time.sleep(0.1)
for number in range(20):
    path = out / f"{number}.json"
    if path.exists(): continue
    work = path.with_suffix(".tmp") if SAFE else path
    with work.open("w") as file:
        for _ in range(20):
            file.write("[" ); file.flush(); time.sleep(0.0005)
        file.write("]" * 20)
    work.replace(path)
"""


@pytest.mark.parametrize("safe", [True, False])
def test_half_written_output_is_found(safe: bool, tmp_path: Path) -> None:
    script = tmp_path / "writes.py"
    script.write_text(WRITES.replace("SAFE", str(safe)))

    def result(out: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in out.glob("*.json")}

    def complaints(out: Path) -> list[str]:
        return [name for name, content in result(out).items() if content != b"[" * 20 + b"]" * 20]

    writes = commands.Command("writes", lambda out: [str(script), str(out)], result, complaints)
    tally = kills.torture(writes, tmp_path, 4, seed=0)
    assert tally.n_kills == 4
    assert bool(tally.complaints) is not safe


def test_a_process_that_outlives_its_command_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kills, "PATIENCE", 0.3)
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    process.wait()
    assert kills._left_over(process) == ["a process was still there 0.3 s after the kill"]
    monkeypatch.setattr(kills, "PATIENCE", 10.0)
    assert kills._left_over(process) == []  # it was killed then


def test_half_written_results_and_tables_are_found(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    whole = {"runs/a.json": '{"a": 1}\n', "results.jsonl": '{"a": 1}\n{"a": 2}\n', "table2.md": "# T\n", "t.csv": "a\n"}
    for name, text in whole.items():
        (tmp_path / name).write_text(text)
    assert commands.broken_results(tmp_path) == []
    for name, text in whole.items():
        (tmp_path / name).write_text(text[:-4] if name.endswith(("json", "jsonl")) else text[:-1])
        assert len(commands.broken_results(tmp_path)) == 1, name
        (tmp_path / name).write_text(text)


def test_times_are_no_part_of_a_result() -> None:
    one = {"score": 1.0, "train_seconds": 3.0, "curve": [[0, 1.5, 2.0]], "provenance": {"started_at": "now"}}
    assert commands.untimed(one) == {"score": 1.0, "curve": [[0, 2.0]]}


# --- damaged files


def attempt(read: Callable[[Path], Any], out: Path, n: int = 60, kind: str = "bytes") -> fuzz.Count:
    batch = fuzz.Batch(kind, "ml1m", 0, n, "", str(out))
    return fuzz.try_batch(batch, (SAMPLES["ml1m"][1](), read))


def test_the_samples_are_loaded_undamaged(tmp_path: Path) -> None:
    for name in SAMPLES:
        files, read = fuzz.read_of(fuzz.Batch("bytes", name, 0, 1, "", ""))
        (tmp_path / name).mkdir()
        for file, content in files.items():
            (tmp_path / name / file).write_bytes(content)
        assert len(read(tmp_path / name)) >= 2


@pytest.mark.parametrize("kind", ["bytes", "structure"])
def test_the_same_seed_damages_alike(kind: str, tmp_path: Path) -> None:
    seen: list[list[Any]] = [[], []]
    for cases in seen:
        fuzz.cases(fuzz.Batch(kind, "rl4rs", 3, 20, "", ""), SAMPLES["rl4rs"][1](), tmp_path, cases.append)
    assert seen[0] == seen[1]
    assert len({str(case) for case in seen[0]}) > 10


def careful(folder: Path) -> None:
    raise HsrlError(f"{folder}/ratings.dat, line 1: got something, expected something else; mend it.")


def careless(folder: Path) -> int:
    return int((folder / "ratings.dat").read_text()[0])


def talkative(folder: Path) -> None:
    files = SAMPLES["ml1m"][1]()
    text = "".join((folder / name).read_text(errors="replace") for name in files if (folder / name).exists())
    if text != "".join(content.decode() for content in files.values()):
        raise HsrlError(f"got {text}, expected something else.")


def test_a_broken_reader_is_found_and_its_files_are_kept(tmp_path: Path) -> None:
    count = attempt(careless, tmp_path)
    assert count.outcomes["loaded"] > 0
    assert count.outcomes["failed"] == count.causes.total() > 0
    causes = {cause.partition(" [")[0] for cause in count.causes}
    assert {"ml1m: ValueError", "ml1m: FileNotFoundError"} & causes
    folder = tmp_path / next(iter(count.kept.values()))
    told = (folder / "FAILURE.txt").read_text()
    assert "seed 0, bytes, case" in told
    assert "Traceback" in told
    with pytest.raises((OSError, ValueError)):
        careless(folder)


def test_a_long_message_is_found(tmp_path: Path) -> None:
    count = attempt(talkative, tmp_path)
    assert count.causes.total() == count.outcomes["failed"] > 0
    assert all("message" in cause for cause in count.causes)


def test_what_is_wrong_with_a_message(tmp_path: Path) -> None:
    assert complaint(f"{tmp_path}/a: got 'x', expected 1.", tmp_path) == ""
    assert "control" in complaint("got \x1b[31m", tmp_path)
    assert "line break" in complaint("got a\nb", tmp_path)
    assert "200" in complaint("got " + "§" * 201, tmp_path)
    assert "too long" in complaint("x" * 1_000, tmp_path)


def test_a_reader_that_hangs_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 0.05)
    undamaged = SAMPLES["ml1m"][1]()

    def hangs(folder: Path) -> None:
        damaged = {path.name: path.read_bytes() for path in folder.iterdir()} != undamaged
        while damaged:
            pass

    count = attempt(hangs, tmp_path, 3)
    assert {cause.partition(" [")[0] for cause in count.causes} == {"ml1m: it hangs"}


def test_all_kinds_and_formats_have_their_share() -> None:
    made = fuzz.batches(10_000, 1, Path("base"), Path("out"))
    n = {kind: sum(batch.n for batch in made if batch.kind == kind) for kind in fuzz.SHARES}
    assert n == pytest.approx({kind: 10_000 * share for kind, share in fuzz.SHARES.items()}, abs=len(SAMPLES))
    assert {batch.sample for batch in made} == {*SAMPLES, "bundle"}
    assert len({batch.seed for batch in made}) == len(made)


# --- equal seeds, memory


class FakeAgent:
    """Has weights, and an answer; `noise` is the part that a seed does not decide."""

    def __init__(self, noise: float = 0.0) -> None:
        self.network = torch.nn.Linear(2, 1)
        with torch.no_grad():
            self.network.weight.fill_(1.0)
            self.network.bias.fill_(noise)
        self.seconds = noise

    def predict(self, observation: Any, deterministic: bool = True) -> tuple[np.ndarray, None]:
        return np.zeros(3), None


def test_another_weight_is_another_fingerprint() -> None:
    one, same, other = (determinism.fingerprint(FakeAgent(noise), None) for noise in (0.0, 0.0, 1e-7))
    assert one == same != other


def test_methods_that_differ_are_named() -> None:
    assert determinism.compare({"a": "1", "b": "2"}, {"a": "1", "b": "2"}, ["a", "b"]) == []
    assert determinism.compare({"a": "1", "b": "2"}, {"a": "1", "b": "3"}, ["a", "b"]) == ["b: 2 and 3"]
    assert determinism.compare({"a": "1"}, {}, ["a"]) == ["a did not learn"]


def test_a_leak_is_found() -> None:
    kept = []

    def leak() -> None:
        kept.append(mmap.mmap(-1, 2**18))  # 0.25 MiB that no free part of the heap can serve
        kept[-1].write(bytes(2**18))

    leaking, _ = memory.growth(leak, 200)
    sound, samples = memory.growth(lambda: np.ones(2**15).sum(), 200)
    assert leaking > memory.ALLOWED
    assert abs(sound) < memory.ALLOWED
    assert len(samples) == memory.N_SAMPLES


def test_the_environments_whose_memory_is_watched_run() -> None:
    for settings in ({}, {"churn": memory.CHURN}):
        memory.stepper(3, 0, **settings)()


def test_the_published_report_has_every_promise_and_keeps_it() -> None:
    report = (ROOT / "benchmarks" / "results" / "trust" / "REPORT.md").read_text(encoding="utf-8")
    rows = [line for line in report.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == len(trust.PARTS)
    assert all(row.endswith("| yes |") for row in rows)
