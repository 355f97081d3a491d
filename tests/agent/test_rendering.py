"""What SB3 and Gymnasium ask of an environment that renders: made by id, in processes, recorded."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import AddRenderObservation, RecordVideo
from PIL import Image
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env as sb3_make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv, VecVideoRecorder

from hsrl_agent import HSRL, make_vec_env
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError

pytestmark = pytest.mark.filterwarnings("ignore:no bundle was named", "ignore:the ids of")
SHAPE = (540, 960, 3)


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for videos; where moviepy (with ffmpeg) is not installed, they are written as GIFs under their names."""
    try:
        import moviepy  # noqa: F401
    except ImportError:
        names = ("moviepy", "moviepy.video", "moviepy.video.io", "moviepy.video.io.ImageSequenceClip")
        modules = {name: ModuleType(name) for name in names}
        modules[names[-1]].ImageSequenceClip = GifClip  # type: ignore[attr-defined]
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)
    return tmp_path / "videos"


class GifClip:
    """A stand-in for moviepy's `ImageSequenceClip`."""

    def __init__(self, frames: list[Any], fps: float) -> None:
        assert fps == 2
        self.images = [Image.fromarray(frame) for frame in frames]

    def write_videofile(self, path: str, logger: Any = None) -> None:
        self.images[0].save(path, "GIF", save_all=True, append_images=self.images[1:])


@pytest.mark.parametrize("algorithm", [PPO, HSRL])
def test_algorithms_make_an_environment_by_its_id(algorithm: Any) -> None:
    policy = "HSRLPolicy" if algorithm is HSRL else "MultiInputPolicy"
    settings = {"pretrain_epochs": 0} if algorithm is HSRL else {"batch_size": 4, "n_steps": 4, "n_epochs": 1}
    agent = algorithm(policy, "HSRL-RL4RS-v0", **settings)
    agent.learn(4)
    env = agent.get_env()
    assert env.render().shape == SHAPE
    assert agent.predict(env.reset())[0].shape == (1, 27)


def test_sb3_makes_a_batch_by_id(tiny_bundle_folder: Path) -> None:
    envs = sb3_make_vec_env("HSRL-RL4RS-v0", n_envs=2, env_kwargs={"bundle": str(tiny_bundle_folder)})
    envs.reset()
    assert [image.shape for image in envs.get_images() if image is not None] == [SHAPE] * 2


@pytest.mark.slow
def test_sb3_makes_processes_by_id(tiny_bundle_folder: Path) -> None:
    """ "hsrl_gym:" has each process import the package, which registers the ids."""
    envs = sb3_make_vec_env(
        "hsrl_gym:HSRL-RL4RS-v0",
        n_envs=1,
        env_kwargs={"bundle": str(tiny_bundle_folder), "render_mode": "rgb_array"},
        vec_env_cls=SubprocVecEnv,
    )
    try:
        envs.seed(7)
        envs.reset()
        single = gymnasium.make("HSRL-RL4RS-v0", bundle=tiny_bundle_folder, render_mode="rgb_array")
        single.reset(seed=7)
        np.testing.assert_array_equal(envs.get_images()[0], single.render())
    finally:
        envs.close()


def test_our_batch_gives_images_to_sb3(tiny_bundle: Bundle) -> None:
    envs = make_vec_env("HSRL-RL4RS-v0", 2, seed=0, bundle=tiny_bundle, render_mode="rgb_array")
    envs.reset()
    assert envs.render_mode == "rgb_array"
    assert [image.shape for image in envs.get_images() if image is not None] == [SHAPE] * 2
    assert envs.render().size == 2 * np.prod(SHAPE)  # type: ignore[union-attr]  # one picture of both
    plain = make_vec_env("HSRL-RL4RS-v0", 2, bundle=tiny_bundle)
    with pytest.raises(HsrlError, match='got render_mode None, expected "rgb_array"'):
        plain.get_images()


def test_gymnasiums_recorder(tiny_bundle: Bundle, videos: Path) -> None:
    env = gymnasium.make("HSRL-RL4RS-v0", bundle=tiny_bundle, render_mode="rgb_array", max_steps=3)
    with RecordVideo(env, str(videos), episode_trigger=lambda episode: episode == 1) as recorder:
        recorder.action_space.seed(0)
        for _ in range(2):
            recorder.reset()
            while not any(recorder.step(recorder.action_space.sample())[2:4]):
                pass
    (video,) = videos.glob("*.mp4")
    assert video.stat().st_size > 1_000


@pytest.mark.parametrize("make", [make_vec_env, sb3_make_vec_env])
def test_sb3s_recorder(tiny_bundle: Bundle, videos: Path, make: Any) -> None:
    kwargs = {"bundle": tiny_bundle, "render_mode": "rgb_array"}
    envs = make("HSRL-RL4RS-v0", 2, **(kwargs if make is make_vec_env else {"env_kwargs": kwargs}))
    recorder = VecVideoRecorder(envs, str(videos), lambda step: step == 0, video_length=2)
    assert recorder.frames_per_sec == 2
    recorder.reset()
    for _ in range(3):
        recorder.step(np.array([recorder.action_space.sample()] * 2))
    recorder.close()
    (video,) = videos.glob("*.mp4")
    assert video.stat().st_size > 1_000


@pytest.mark.parametrize("render_only", [True, False])
def test_pictures_as_observations(tiny_bundle: Bundle, render_only: bool) -> None:
    env = gymnasium.make("HSRL-RL4RS-v0", bundle=tiny_bundle, render_mode="rgb_array")
    wrapped: Any = AddRenderObservation(env, render_only=render_only)
    steps = (lambda: wrapped.reset(seed=0), lambda: wrapped.step(wrapped.action_space.sample()))
    for step in steps:
        observation = step()[0]
        assert wrapped.observation_space.contains(observation)
        np.testing.assert_array_equal(observation if render_only else observation["pixels"], wrapped.render())
