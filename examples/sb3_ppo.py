"""PPO of Stable-Baselines3 with `HSRLPolicy`, or `ItemPolicy` with --action-mode item; scored by users it never met.

Install: pip install -c constraints.txt -e .
Run:     python examples/sb3_ppo.py --steps 9600
"""

import argparse

from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy

from hsrl_agent import make_vec_env  # importing hsrl_agent gives PPO its policy names

parser = argparse.ArgumentParser()
parser.add_argument("--env", default="HSRL-RL4RS-v0")
parser.add_argument("--steps", type=int, default=9600, help="user-steps of training")
parser.add_argument("--action-mode", choices=("sid", "item"), default="sid")
parser.add_argument("--episodes", type=int, default=200, help="sessions of each evaluation")
args = parser.parse_args()

env = make_vec_env(args.env, num_envs=32, seed=0, action_mode=args.action_mode)
policy = {"sid": "HSRLPolicy", "item": "ItemPolicy"}[args.action_mode]
model = PPO(policy, env, n_steps=16, batch_size=128, learning_rate=1e-3, seed=0, device="cpu")


def mean_return() -> float:
    """Return the mean Total Reward of sessions with the eval user, who played no part in training."""
    held_out = make_vec_env(args.env, num_envs=32, seed=1000, action_mode=args.action_mode, simulator="eval")
    mean, _ = evaluate_policy(model, held_out, n_eval_episodes=args.episodes, deterministic=False)
    return float(mean)


before = mean_return()
model.learn(args.steps)
print(f"mean return {before:.2f} before and {mean_return():.2f} after {args.steps} user-steps of {policy}")
