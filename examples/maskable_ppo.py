"""MaskablePPO of sb3-contrib on a catalog that moves: the masks leave out the items that are not on sale today.

Install: pip install -c constraints.txt -e '.[examples]'
Run:     python examples/maskable_ppo.py --steps 9600
"""

import argparse

import numpy as np
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks

from hsrl_agent import SASRecExtractor, make_vec_env

parser = argparse.ArgumentParser()
parser.add_argument("--env", default="HSRL-RL4RS-v0")
parser.add_argument("--steps", type=int, default=9600, help="user-steps of training")
args = parser.parse_args()

# Every 9 steps a tenth of the items goes and another tenth comes.
env = make_vec_env(args.env, num_envs=32, seed=0, action_mode="item", churn={"every": 9})
# MultiInputPolicy would read the ids of the history as quantities; this encoder looks them up.
model = MaskablePPO(
    "MultiInputPolicy",
    env,
    n_steps=16,
    batch_size=128,
    learning_rate=1e-3,
    policy_kwargs={"features_extractor_class": SASRecExtractor},
    seed=0,
    device="cpu",
)
model.learn(args.steps)
returns = [episode["r"] for episode in model.ep_info_buffer]

observation, asked = env.reset(), []
for _ in range(20):
    masks = np.array(get_action_masks(env))  # (B, K * N) bool
    actions, _ = model.predict(observation, action_masks=masks)
    asked.append(np.take_along_axis(masks.reshape(32, actions.shape[1], -1), actions[:, :, None], axis=2).all())
    observation, _, _, _ = env.step(actions)
print(f"mean return of the last {len(returns)} sessions of training {np.mean(returns):.2f}")
print(f"items on sale {masks[0].reshape(actions.shape[1], -1)[0].sum()} of {env.action_space.nvec[0]}; ", end="")
print("every item that was asked for was on sale" if all(asked) else "an item was asked for that was not on sale")
