"""Record sessions with Minari, and learn from the records alone: behaviour cloning, weighted by what a slate earned.

Install: pip install -c constraints.txt -e '.[examples]'
Run:     python examples/minari_offline.py --steps 4096

d3rlpy's algorithms do not fit: they take one discrete action or a Box, and a slate is a MultiDiscrete of K x L tokens.
"""

import argparse

import gymnasium as gym
import minari
import numpy as np
import torch
from stable_baselines3.common.evaluation import evaluate_policy

import hsrl_gym  # noqa: F401  (registers the environments)
from hsrl_agent import HSRLPolicy, make_vec_env

parser = argparse.ArgumentParser()
parser.add_argument("--env", default="HSRL-RL4RS-v0")
parser.add_argument("--steps", type=int, default=4096, help="user-steps to record")
parser.add_argument("--dataset", default="hsrl/random-v0", help="its name in Minari's folder, MINARI_DATASETS_PATH")
parser.add_argument("--learning-rate", type=float, default=3e-3)
parser.add_argument("--epochs", type=int, default=8)
parser.add_argument("--episodes", type=int, default=200, help="sessions of the evaluation")
args = parser.parse_args()

# Record random slates. In practice this is the policy that runs today.
env = minari.DataCollector(gym.make(args.env), record_infos=True)
env.action_space.seed(0)
env.reset(seed=0)
for _ in range(args.steps):
    _, _, terminated, truncated, _ = env.step(env.action_space.sample())
    if terminated or truncated:
        env.reset()
if args.dataset in minari.list_local_datasets():
    minari.delete_dataset(args.dataset)
dataset = env.create_dataset(
    args.dataset,
    eval_env=args.env,
    algorithm_name="random",
    description="Random slates",
    author="You",
    author_email="you@example.org",
    code_permalink="https://example.org/your-code",
)
env.close()

# Load it as anybody would: the environment comes with it, and with the environment the meaning of the actions.
dataset = minari.load_dataset(args.dataset)
played = dataset.recover_environment()
profile, history, slates, earned = [], [], [], []
for episode in dataset.iterate_episodes():
    steps = len(episode.rewards)
    profile.append(episode.observations["profile"][:steps])  # one more than there are steps: the last one, too
    history.append(episode.observations["history"][:steps])
    slates.append(episode.infos["slate_tokens"][1:].reshape(steps, -1))  # of the items shown, after repairs
    earned.append(episode.rewards)
obs = {"profile": torch.as_tensor(np.concatenate(profile)), "history": torch.as_tensor(np.concatenate(history))}
actions, rewards = torch.as_tensor(np.concatenate(slates)), torch.as_tensor(np.concatenate(earned)).float()
weights = ((rewards - rewards.mean()) / rewards.std()).exp().clamp(max=20.0)  # a better slate counts for more

torch.manual_seed(0)
policy = HSRLPolicy(played.observation_space, played.action_space, lambda _: args.learning_rate)
for epoch in range(args.epochs):
    losses = []
    for rows in torch.randperm(len(rewards)).split(128):
        _, log_prob, _ = policy.evaluate_actions({name: part[rows] for name, part in obs.items()}, actions[rows])
        loss = -(weights[rows] * log_prob).mean()
        policy.optimizer.zero_grad()
        loss.backward()
        policy.optimizer.step()
        losses.append(loss.item())
    print(f"epoch {epoch + 1}  loss {np.mean(losses):.3f}", flush=True)

held_out = make_vec_env(args.env, num_envs=32, seed=1000, simulator="eval")  # users whom the records do not know
learned, _ = evaluate_policy(policy, held_out, n_eval_episodes=args.episodes)
recorded = np.mean([reward.sum() for reward in earned])
print(f"mean return {recorded:.2f} of the {len(rewards)} recorded slates, {learned:.2f} of what was learned from them")
