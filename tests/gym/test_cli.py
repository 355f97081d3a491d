"""The `hsrl-gym` command as it is typed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hsrl_gym import __version__
from hsrl_gym.bundle.folder import Bundle, load_bundle, save_bundle
from hsrl_gym.cli import _ensemble_size, main
from hsrl_gym.errors import HsrlError

FRAGMENT = Path(__file__).parents[3] / "shared" / "data" / "rl4rs-fragment"
TINY = ["--epochs", "1", "--levels", "2", "--vocab", "18", "--pool", "50", "--ensemble-size", "1"]


def test_builds_and_inspects_a_synthetic_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bundle"
    assert main(["build", "synthetic", "--slates", "300", "--out", str(out), *TINY]) == 0
    bundle = load_bundle(out)
    assert bundle.name == "bundle"  # the folder's, unless --name says another
    assert bundle.codebook.vocabulary == (18, 18)
    assert bundle.source == "SyntheticWorld('rl4rs', seed=0)"
    assert bundle.provenance["world"] == {"shape": "rl4rs", "seed": 0}
    assert len(bundle.users["train"]) == 50
    capsys.readouterr()
    assert main(["inspect", str(out), "--out", str(tmp_path / "pictures")]) == 0
    printed = capsys.readouterr().out
    assert "283 SIDs for 283 items, 0 collisions" in printed
    assert f"{bundle.fidelity['train']['auc']:.4f}" in printed
    assert "- This synthetic user is good for" in printed
    for part in ("clicks in the history", "tenths of the items", "mean |p - p_true|"):
        assert part in printed
    users = bundle.users["eval"]
    assert f"{users.clicks[:, 0].mean():.3f}" in printed  # of the first slot
    for name in ("reliability.png", "fidelity.png", "codebook.png"):
        assert (tmp_path / "pictures" / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.skipif(not FRAGMENT.exists(), reason="the real RL4RS rows are not in ../shared/data")
def test_builds_from_real_rows(tmp_path: Path) -> None:
    assert main(["build", "rl4rs", "--logs", str(FRAGMENT), "--out", str(tmp_path / "b"), *TINY]) == 0
    bundle = load_bundle(tmp_path / "b")
    assert "world" not in bundle.provenance
    assert (bundle.n_items, bundle.slate_size) == (283, 9)
    assert str(tmp_path) not in bundle.source


def test_inspects_real_users_without_a_true_one(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = replace(tiny_bundle, source="MovieLens-100K", provenance={})
    folder = save_bundle(real, tmp_path / "real")
    assert main(["inspect", str(folder), "--out", str(tmp_path / "pictures")]) == 0
    printed = capsys.readouterr().out
    assert "clicks in the history" in printed
    assert "true" not in printed
    assert (tmp_path / "pictures" / "fidelity.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fetch", "ml100"], "unknown data set 'ml100'; did you mean ml100k"),
        (["build", "rl4rs", "--logs", "nowhere", "--out", "OUT"], "nowhere"),
        (["build", "atomic", "--out", "OUT"], "no logs were named for atomic; give --logs DIR."),
        (
            ["build", "ml1m", "--out", "OUT"],
            "no logs were named for ml1m; give --logs DIR, or run `hsrl-gym fetch ml1m`",
        ),
        (["build", "synthetic", "--shape", "ml2m", "--out", "OUT"], "unknown world 'ml2m'; did you mean ml1m"),
        (["build", "rl4r", "--out", "OUT"], "unknown format 'rl4r'; did you mean rl4rs"),
        (["build", "csv", "--out", "OUT"], "no logs were named for csv; give --logs FILE."),
        (["build", "csv", "--logs", "FULL", "--out", "OUT"], "FULL: got a folder, expected a CSV or parquet file"),
        (
            ["build", "rl4rs", "--slate-size", "5", "--out", "OUT"],
            "got --slate-size for rl4rs, expected it for csv, ml1m",
        ),
        (["build", "synthetic", "--user", "u", "--out", "OUT"], "got --user for synthetic, expected it for csv alone"),
        (["build", "csv", "--slate-size", "0", "--out", "OUT"], "got --slate-size 0, expected at least 1."),
        (["build", "synthetic", "--out", "BUNDLE"], "BUNDLE is a bundle already, expected a new folder; give another"),
        (
            ["build", "rl4rs", "--codebook", "feature", "--out", "OUT"],
            "unknown codebook 'feature'; did you mean features",
        ),
        (["build", "synthetic", "--device", "gpu", "--out", "OUT"], "got the device 'gpu', expected cpu, cuda or"),
        (["build", "synthetic", "--seed", "-1", "--out", "OUT"], "got --seed -1, expected 0 to"),
        (["build", "synthetic", "--out", "FULL/thesis.tex/OUT"], "FULL/thesis.tex: File exists"),
        (["build", "synthetic", "--vocab", "0", "--out", "OUT"], "got --vocab 0, expected at least 1."),
        (["build", "synthetic", "--name", "x" * 1_100, "--out", "OUT"], "--name: got 'xxx"),
        (["build", "synthetic", "--out", "FULL"], "exists and is not a bundle"),
        (["inspect", "nowhere"], "nowhere: no bundle.yaml here, expected a bundle folder"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HSRL_DATA", str(tmp_path / "empty"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FULL").mkdir()
    (tmp_path / "BUNDLE").mkdir()
    (tmp_path / "BUNDLE" / "bundle.yaml").touch()
    (tmp_path / "FULL" / "thesis.tex").write_text("do not replace me")
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.startswith("hsrl-gym: ")
    assert printed.count("\n") == 1
    assert not (tmp_path / "OUT").exists()
    assert (tmp_path / "FULL" / "thesis.tex").exists()


def write_shop(folder: Path) -> Path:
    """Write 60 slates of three of six items, shown to 12 users, with clicks on even items; the file's path."""
    rows = [
        f"u{slate % 12},i{(slate + place) % 6},{slate},{(slate + place) % 2},{slate}"
        for slate in range(60)
        for place in range(3)
    ]
    (folder / "shop.csv").write_text("\n".join(["who,what,when,click,request", *rows]) + "\n")
    return folder / "shop.csv"


def test_builds_from_a_csv_file_in_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["--user", "who", "--item", "what", "--time", "when", "--slate", "request"]
    build = ["build", "csv", "--logs", str(write_shop(tmp_path)), *names, "--out", str(tmp_path / "shop"), *TINY[:-2]]
    assert main(build) == 0
    printed, noted = capsys.readouterr()
    assert "60 slates of 3; left out 0 shorter ones" in noted
    assert "60 slates are few (below 20,000): each user is the mean of 3 fits" in printed
    bundle = load_bundle(tmp_path / "shop")
    assert bundle.provenance["ensemble_size"] == 3
    assert (bundle.n_items, bundle.slate_size, bundle.source) == (6, 3, "file shop.csv")
    assert bundle.item_labels[1] == "item i0"
    assert main(build) == 2
    assert "is a bundle already" in capsys.readouterr().err
    assert main([*build, "--force", "--codebook", "features"]) == 2
    assert "got --codebook features, but the log has no item features; give --items" in capsys.readouterr().err


def test_slates_longer_than_the_catalog_are_found_before_the_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"u{user},i{click % 6},{click},{1 + 4 * (click % 2)}" for user in range(60) for click in range(30)]
    (tmp_path / "likes.csv").write_text("\n".join(["user,item,time,rating", *rows]) + "\n")
    build = ["build", "csv", "--logs", str(tmp_path / "likes.csv"), "--out", str(tmp_path / "shop"), *TINY]
    assert main(build) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("hsrl-gym: got slates of 10 for 6 items, expected 1 to 6 items in a slate; make shorter")
    assert not (tmp_path / "shop").exists()


def test_too_few_semantic_ids_are_said_before_the_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_fit(*_: object, **settings: object) -> Bundle:
        raise HsrlError("the fit begins")

    monkeypatch.setattr("hsrl_gym.bundle.build.build_bundle", no_fit)
    build = ["build", "csv", "--logs", str(write_shop(tmp_path)), "--user", "who", "--item", "what", "--time", "when"]
    build += ["--slate", "request", "--out", str(tmp_path / "shop"), "--levels", "2"]
    said = "warning: 4 semantic IDs for 6 items: not every item can have its own; raise --vocab or --levels"
    for vocab, is_said in (("2", True), ("3", False)):
        assert main([*build, "--vocab", vocab]) == 2
        printed, noted = capsys.readouterr()
        assert (said in printed, "the fit begins" in noted) == (is_said, True)


def test_the_number_of_fits(capsys: pytest.CaptureFixture[str]) -> None:
    assert [_ensemble_size(None, 20_000), _ensemble_size(1, 20_000), _ensemble_size(5, 100)] == [1, 1, 5]
    assert capsys.readouterr().out == ""
    assert _ensemble_size(None, 19_999) == 3
    assert "19,999 slates are few (below 20,000): each user is the mean of 3 fits" in capsys.readouterr().out
    assert _ensemble_size(1, 60) == 1
    assert "warning: 60 slates are few (below 20,000), and agents learn what a single fit" in capsys.readouterr().out


@pytest.mark.parametrize(("module", "name"), [("hsrl_gym", "hsrl-gym"), ("hsrl_agent", "hsrl-agent")])
def test_the_version_and_the_module(module: str, name: str) -> None:
    command = [sys.executable, "-m", module, "--version"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout == f"{name} {__version__}\n"


def test_the_installed_command_answers() -> None:
    command = Path(sys.executable).with_name("hsrl-gym")
    answer = subprocess.run([command, "inspect", "nowhere"], capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr
    assert subprocess.run([command, "--help"], capture_output=True, check=True).stdout
