"""Each example for another library runs as its header says, in a short form, wherever that library is installed.

`make examples` installs all of them, in three environments, so that no test is only skipped.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
RETURN = r"mean return +-?\d+\.\d\d"
# Example: a module of its library, arguments that shorten it (the last one given counts), and what it must print.
# RLlib's own code comes with Ray; "tree" is what `ray[rllib]` adds.
SHORT = {
    "sb3_ppo.py": ("stable_baselines3", "--steps 512 --episodes 8", rf"{RETURN} before and -?\d+\.\d\d after 512"),
    "maskable_ppo.py": ("sb3_contrib", "--steps 512", "every item that was asked for was on sale"),
    "cleanrl_ppo.py": ("torch", "--steps 1024", rf"user-steps +1024 +{RETURN}"),
    "torchrl_ppo.py": ("torchrl", "--steps 1024", rf"user-steps +1024 +{RETURN}"),
    "minari_offline.py": ("minari", "--steps 256 --epochs 2 --episodes 8", rf"{RETURN} of the 256 recorded slates"),
    "rllib_ppo.py": ("tree", "--steps 512", rf"user-steps +5\d\d +{RETURN}"),
}
OTHERS = {"quickstart.py", "my_agent.py", "train_hsrl.py"}  # these use no library but ours; tests/agent runs them


def header(example: str, word: str) -> list[str]:
    """Return what stands after "Install:" or "Run:" in the header of an example, one command a line."""
    start = re.search(rf"^#? ?{word}: +(.+\n(?:# {{6,}}.+\n)*)", (EXAMPLES / example).read_text(encoding="utf-8"), re.M)
    assert start, f"{example}: got no {word}: line"
    return [line.strip("# \n") for line in start[1].splitlines()]


def needs(library: str) -> None:
    """Skip the test, and say why, where a library is missing."""
    if find_spec(library) is None:
        pytest.skip(f"the module {library} is not installed here; `make examples` makes an environment with it")


def output_of(command: str, short: str, folder: Path) -> str:
    """Return what a command prints; files of the repository are found from anywhere, and nothing is left in it."""
    words = [str(ROOT / word) if word.startswith("examples/") else word for word in shlex.split(command)]
    assert words[0] == "python"
    variables = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MINARI_DATASETS_PATH": str(folder / "minari")}
    done = subprocess.run(
        [sys.executable, *words[1:], *shlex.split(short)],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("example", SHORT)
def test_runs(example: str, tmp_path: Path) -> None:
    library, short, expected = SHORT[example]
    needs(library)
    (command,) = header(example, "Run")
    printed = output_of(command, short, tmp_path)
    assert re.search(expected, printed), printed


@pytest.mark.slow
def test_rl_zoo_trains_and_loads(tmp_path: Path) -> None:
    needs("rl_zoo3")
    train, enjoy = header("rl_zoo.yml", "Run")
    assert "Saving to logs" in output_of(train, "-n 256 --eval-freq -1 -f logs --seed 0", tmp_path)
    assert re.search(r"Mean reward: -?\d", output_of(enjoy, "-n 30", tmp_path))


@pytest.mark.parametrize("example", [*SHORT, "rl_zoo.yml"])
def test_header_installs_with_constraints_and_runs_this_file(example: str) -> None:
    (install,) = header(example, "Install")
    assert install.startswith("pip install -c constraints")
    assert (ROOT / shlex.split(install)[3]).is_file()
    assert f"examples/{example}" in header(example, "Run")[0]


def test_the_page_lists_every_example() -> None:
    page = (ROOT / "docs/guides/other-libraries.md").read_text(encoding="utf-8")
    files = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".yml")}
    assert files - OTHERS == {*SHORT, "rl_zoo.yml"}
    assert [name for name in files - OTHERS if f"examples/{name}" not in page] == []
