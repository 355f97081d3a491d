"""Results on disk: one JSON file a finished run, and all of a comparison as JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.files import write_text
from hsrl_gym.errors import HsrlError

if TYPE_CHECKING:
    import pandas as pd

RUNS, RESULTS = "runs", "results.jsonl"


def result_path(out: Path, result: RunResult) -> Path:
    """Return where the result of a finished run stands: OUT/runs/TASK-LINE-seedN-KEY.json."""
    spec = result.spec
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{spec.task}-{spec.line}-seed{spec.seed}-{result.key}")
    return out / RUNS / f"{name}.json"


def write_result(out: Path, result: RunResult) -> Path:
    """Write the result of a finished run into OUT/runs, and return its file.

    Raises:
        ValueError: for a number that is not finite.
    """
    path = result_path(out, result)
    write_text(path, json.dumps(result.to_dict(), indent=1, allow_nan=False) + "\n")
    return path


def read_runs(out: Path) -> tuple[dict[str, RunResult], list[str]]:
    """Return the finished runs in OUT/runs by their keys, and a line for each file that cannot be used."""
    found, complaints = {}, []
    for path in sorted((out / RUNS).glob("*.json")):
        try:
            result = RunResult.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, OSError) as error:
            complaints.append(f"{path} cannot be used ({' '.join(str(error).split())}); that run is done again.")
            continue
        found[result.key] = result
    return found, complaints


def write_results(results: Iterable[RunResult], out: Path) -> Path:
    """Write results as JSON lines to OUT/results.jsonl, and return the file."""
    lines = [json.dumps(result.to_dict(), allow_nan=False) + "\n" for result in results]
    write_text(out / RESULTS, "".join(lines))
    return out / RESULTS


def read_results(path: Path) -> list[RunResult]:
    """Return the results in a file of JSON lines, or in a folder: of its results.jsonl, else of its runs/*.json.

    Raises:
        HsrlError: if there are none, or one cannot be used.
    """
    file = path / RESULTS if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        found, complaints = read_runs(path)
        if complaints or not found:
            raise HsrlError(complaints[0] if complaints else f"{path}: no {RESULTS} and no {RUNS}/*.json in it.")
        return list(found.values())
    if not file.is_file():
        raise HsrlError(f"{path}: no such file or folder, expected {RESULTS} or the folder it stands in.")
    results = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            results.append(RunResult.from_dict(json.loads(line)))
        except ValueError as error:
            raise HsrlError(f"{file}, line {number}: {' '.join(str(error).split())}") from None
    if not results:
        raise HsrlError(f"{file}: no results in it.")
    return results


def read_together(paths: Iterable[Path]) -> list[RunResult]:
    """Return the results of several files or folders, see `read_results`; a run that stands in two of them once.

    Raises:
        HsrlError: also for two different runs that are the same cell of a table, with both places and keys.
    """
    cells: dict[tuple[str, str, int], tuple[Path, RunResult]] = {}
    for path in paths:
        for result in read_results(path):
            spec = result.spec
            first_path, first = cells.setdefault((spec.task, spec.line, spec.seed), (path, result))
            if first.key != result.key:
                raise HsrlError(
                    f"got two different runs for {spec.name}: {first.key} in {first_path} and {result.key} in {path}; "
                    "report them one by one, or leave one out."
                )
    return [result for _, result in cells.values()]


def results_frame(results: Sequence[RunResult]) -> pd.DataFrame:
    """Return results as a DataFrame, a row a run, with flat columns.

    The columns are those of the spec (settings and env_kwargs as JSON), the scores (`true_` and `train_` in front of
    those of the second judges), the facts of the data (`data_`), the provenance, the reward rule and whatever the
    protocol adds.
    """
    import pandas as pd

    return pd.DataFrame([_flat(result.to_dict()) for result in results])


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    spec, source = row["spec"], row["provenance"]
    flat = {"key": row["key"], **{name: _text(value) for name, value in spec.items()}}
    for prefix in ("", "true_", "train_"):
        score = row[f"{prefix}score"] or dict.fromkeys(row["score"])
        flat |= {f"{prefix}{name}": value for name, value in score.items()}
    flat |= {f"data_{name}": value for name, value in row["data"].items()}
    flat |= {"reward": row["session"].get("reward"), "learns_online": row["learns_online"]}
    flat |= {name: row[name] for name in ("train_seconds", "eval_seconds")}
    flat |= {name: source[name] for name in ("git_commit", "code", "device_name", "started_at")}
    return {**flat, **row["extra"]}


def _text(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, Mapping) else value
