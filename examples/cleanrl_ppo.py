"""PPO in one file, as CleanRL writes it: one batch of users, torch, and the whole loop to be read and changed.

Install: pip install -c constraints.txt -e .
Run:     python examples/cleanrl_ppo.py --steps 32768
"""

import argparse
import time

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.distributions import Categorical

import hsrl_gym  # noqa: F401  (registers the environments)

parser = argparse.ArgumentParser()
parser.add_argument("--env", default="HSRL-RL4RS-v0")
parser.add_argument("--steps", type=int, default=32_768, help="user-steps of training")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--num-envs", type=int, default=32, help="users at once, B")
parser.add_argument("--num-steps", type=int, default=16, help="steps of each user between updates, T")
parser.add_argument("--minibatch", type=int, default=128)
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--learning-rate", type=float, default=3e-3)
parser.add_argument("--gamma", type=float, default=0.9)
parser.add_argument("--gae-lambda", type=float, default=0.95)
parser.add_argument("--clip", type=float, default=0.2)
parser.add_argument("--entropy", type=float, default=0.001)
parser.add_argument("--max-grad-norm", type=float, default=0.5)
args = parser.parse_args()


class Agent(nn.Module):
    """An actor-critic on the profile (B, P) and the mean of the clicked items' embeddings (B, d).

    The actor gives the n parts of an action, K x L tokens here, a categorical distribution each.
    """

    def __init__(self, observation_space: spaces.Dict, action_space: spaces.MultiDiscrete, width: int = 64) -> None:
        super().__init__()
        n_items = int(observation_space["history"].high.max())
        self.nvec = action_space.nvec.tolist()
        self.items = nn.Embedding(n_items + 1, width, padding_idx=0)
        n_inputs = observation_space["profile"].shape[0] + width
        self.body = nn.Sequential(nn.Linear(n_inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.actor, self.critic = nn.Linear(width, sum(self.nvec)), nn.Linear(width, 1)
        nn.init.orthogonal_(self.actor.weight, 0.01)
        nn.init.orthogonal_(self.critic.weight, 1.0)

    def state(self, obs: dict[str, Tensor]) -> Tensor:
        clicked = (obs["history"] > 0).sum(1, keepdim=True).clamp(min=1)  # 0 is padding
        return self.body(torch.cat([obs["profile"], self.items(obs["history"]).sum(1) / clicked], dim=1))

    def value(self, obs: dict[str, Tensor]) -> Tensor:
        return self.critic(self.state(obs)).squeeze(1)  # (B,)

    def forward(self, obs: dict[str, Tensor], action: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return actions (B, n), their log-likelihoods (B,), entropies (B,) and values (B,)."""
        state = self.state(obs)
        parts = [Categorical(logits=logits) for logits in self.actor(state).split(self.nvec, dim=1)]
        if action is None:
            action = torch.stack([part.sample() for part in parts], dim=1)
        log_prob = torch.stack([part.log_prob(tokens) for part, tokens in zip(parts, action.T, strict=True)]).sum(0)
        return action, log_prob, torch.stack([part.entropy() for part in parts]).sum(0), self.critic(state).squeeze(1)


def tensors(observation: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.as_tensor(values) for name, values in observation.items()}


torch.manual_seed(args.seed)
envs = gym.make_vec(args.env, num_envs=args.num_envs, vectorization_mode="vector_entry_point")
agent = Agent(envs.single_observation_space, envs.single_action_space)
optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
B, T = args.num_envs, args.num_steps
actions = torch.zeros(T, B, len(agent.nvec), dtype=torch.int64)
log_probs, rewards, dones, values = (torch.zeros(T, B) for _ in range(4))
observation, _ = envs.reset(seed=args.seed)
obs, so_far, finished, started = tensors(observation), np.zeros(B), [], time.time()

n_updates = max(1, args.steps // (B * T))
for update in range(1, n_updates + 1):
    seen = []
    for t in range(T):
        with torch.no_grad():
            actions[t], log_probs[t], _, values[t] = agent(obs)
        seen.append(obs)
        observation, reward, terminated, truncated, info = envs.step(actions[t].numpy())
        done = terminated | truncated
        rewards[t], dones[t] = torch.as_tensor(reward), torch.as_tensor(done)
        so_far += reward
        finished += so_far[done].tolist()
        so_far[done] = 0.0
        if truncated.any():  # cut off, not over: the return goes on with the value of the last observation
            rows = np.flatnonzero(truncated)
            last = {name: np.stack([info["final_obs"][row][name] for row in rows]) for name in observation}
            with torch.no_grad():
                rewards[t, rows] += args.gamma * agent.value(tensors(last))
        obs = tensors(observation)  # of the next user where a session has ended

    with torch.no_grad():
        advantages, after, following = torch.zeros(T, B), torch.zeros(B), agent.value(obs)
        for t in reversed(range(T)):
            delta = rewards[t] + args.gamma * following * (1 - dones[t]) - values[t]
            advantages[t] = after = delta + args.gamma * args.gae_lambda * (1 - dones[t]) * after
            following = values[t]
    batch = {name: torch.cat([one[name] for one in seen]) for name in obs}
    b_actions, b_log_probs, b_advantages = actions.flatten(0, 1), log_probs.flatten(), advantages.flatten()
    b_returns = b_advantages + values.flatten()

    for _ in range(args.epochs):
        for rows in torch.randperm(B * T).split(args.minibatch):
            _, log_prob, entropy, value = agent({name: part[rows] for name, part in batch.items()}, b_actions[rows])
            ratio = (log_prob - b_log_probs[rows]).exp()
            advantage = b_advantages[rows]
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            clipped = ratio.clamp(1 - args.clip, 1 + args.clip)
            policy_loss = -torch.min(ratio * advantage, clipped * advantage).mean()
            value_loss = 0.5 * (value - b_returns[rows]).square().mean()
            loss = policy_loss + 0.5 * value_loss - args.entropy * entropy.mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
            optimizer.step()

    if finished and (update % 4 == 0 or update == n_updates):
        speed = update * B * T / (time.time() - started)
        print(f"user-steps {update * B * T:6d}  mean return {np.mean(finished):.2f}  ({speed:.0f} steps/s)", flush=True)
        finished = []
