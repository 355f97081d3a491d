"""Work folders: whose process lives stays, whose process is gone goes, and what only looks alike is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hsrl_gym.work_folder import put_in_place, sweep, work_folder

LIVING = """
import sys
from pathlib import Path
from hsrl_gym.work_folder import work_folder

with work_folder(Path(sys.argv[1])) as new:
    (new / "half").write_text("half")
    print(new.parent, flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "here"
    with work_folder(target) as new:
        (new / "file").write_text("1")
        assert not target.exists()
        put_in_place(new, target)
    assert (target / "file").read_text() == "1"
    assert target.stat().st_mode & 0o777 == 0o755
    assert names(tmp_path) == ["here"]


def test_what_is_not_put_in_place_goes(tmp_path: Path) -> None:
    with work_folder(tmp_path / "here") as new:
        (new / "file").write_text("1")
    assert names(tmp_path) == []


def test_a_living_process_keeps_its_folder_and_a_killed_one_does_not(tmp_path: Path) -> None:
    target = tmp_path / "here"
    command = [sys.executable, "-c", LIVING, str(target)]
    settings = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=settings) as living:
        assert living.stdout is not None
        theirs = Path(living.stdout.readline().strip())
        sweep(target)
        with work_folder(target) as new:
            assert names(tmp_path) == sorted([theirs.name, new.parent.name])
        assert (theirs / "new" / "half").read_text() == "half"
        living.kill()
        living.wait()
    assert theirs.exists()
    sweep(tmp_path / "there")  # another target's
    assert theirs.exists()
    sweep(target)
    assert names(tmp_path) == []


def test_one_process_does_not_sweep_its_own(tmp_path: Path) -> None:
    with work_folder(tmp_path / "here") as first, work_folder(tmp_path / "here") as second:
        assert first.exists()
        assert second.exists()
    assert names(tmp_path) == []


def test_folders_that_look_alike_stay(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").write_text("")
    for name in (".here-notes", ".here-abcdefgh", ".here-backup-1", "here-abcdefgh"):
        (tmp_path / name).mkdir()
    (tmp_path / ".here-notes" / "lock").write_text("mine")
    (tmp_path / ".here-12345678").symlink_to(elsewhere)
    before = names(tmp_path)
    sweep(tmp_path / "here")
    assert names(tmp_path) == before
    assert names(elsewhere) == ["lock"]
