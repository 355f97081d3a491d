"""PPO of TorchRL on a batch of users: environment, collector, advantages, loss and replay buffer are TorchRL's.

Install: pip install -c constraints.txt -e '.[examples]'
Run:     python examples/torchrl_ppo.py --steps 16384
"""

import argparse

import gymnasium as gym
import torch
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import Tensor, nn
from torch.distributions import Categorical, Independent
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, SamplerWithoutReplacement, TensorDictReplayBuffer
from torchrl.envs import GymWrapper, RewardSum, TransformedEnv
from torchrl.modules import ProbabilisticActor
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import hsrl_gym  # noqa: F401  (registers the environments)

parser = argparse.ArgumentParser()
parser.add_argument("--env", default="HSRL-RL4RS-v0")
parser.add_argument("--steps", type=int, default=16_384, help="user-steps of training")
args = parser.parse_args()
BATCH, MINIBATCH, WIDTH = 512, 128, 64

torch.manual_seed(0)
# "Disabled" leaves the resets to TorchRL, which asks for them by a mask.
envs = gym.make_vec(args.env, num_envs=32, vectorization_mode="vector_entry_point", autoreset_mode="Disabled")
env = TransformedEnv(GymWrapper(envs, categorical_action_encoding=True), RewardSum())
env.set_seed(0)
n_items = int(envs.single_observation_space["history"].high.max())
n_profile = envs.single_observation_space["profile"].shape[0]
nvec = envs.single_action_space.nvec  # K x L tokens of equal vocabulary


class State(nn.Module):
    """The profile (.., P) and the mean of the clicked items' embeddings (.., d), mixed to (.., d)."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items + 1, WIDTH, padding_idx=0)
        self.mix = nn.Sequential(nn.Linear(n_profile + WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh())

    def forward(self, profile: Tensor, history: Tensor) -> Tensor:
        clicked = (history > 0).sum(-1, keepdim=True).clamp(min=1)
        return self.mix(torch.cat([profile, self.items(history.long()).sum(-2) / clicked], dim=-1))


def slates(logits: Tensor) -> Independent:
    """Return one categorical distribution for each token of the slate."""
    return Independent(Categorical(logits=logits), 1)


def network(*heads: nn.Module, out: str) -> TensorDictSequential:
    """Return a network of its own on the state."""
    state = TensorDictModule(State(), in_keys=["profile", "history"], out_keys=[f"state_{out}"])
    return TensorDictSequential(state, TensorDictModule(nn.Sequential(*heads), [f"state_{out}"], [out]))


head = nn.Linear(WIDTH, int(nvec.sum()))
nn.init.orthogonal_(head.weight, 0.01)
actor = ProbabilisticActor(
    network(head, nn.Unflatten(-1, (len(nvec), int(nvec[0]))), out="logits"),
    in_keys=["logits"],
    spec=env.action_spec,
    distribution_class=slates,
    return_log_prob=True,
)
critic = network(nn.Linear(WIDTH, 1), out="state_value")
advantages = GAE(gamma=0.9, lmbda=0.95, value_network=critic)
loss_of = ClipPPOLoss(actor, critic, clip_epsilon=0.2, entropy_coeff=0.001, critic_coeff=0.5)
optimizer = torch.optim.Adam(loss_of.parameters(), lr=3e-3)
replay = TensorDictReplayBuffer(
    storage=LazyTensorStorage(BATCH), sampler=SamplerWithoutReplacement(), batch_size=MINIBATCH
)

collected = 0
frames = {"frames_per_batch": BATCH, "total_frames": args.steps}
for batch in Collector(env, actor, **frames, auto_register_policy_transforms=False):
    collected += batch.numel()
    for _ in range(4):
        with torch.no_grad():
            advantages(batch)
        replay.extend(batch.reshape(-1))
        for _ in range(BATCH // MINIBATCH):
            losses = loss_of(replay.sample())
            optimizer.zero_grad()
            (losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]).backward()
            nn.utils.clip_grad_norm_(loss_of.parameters(), 0.5)
            optimizer.step()
    ended = batch["next", "episode_reward"][batch["next", "done"]]
    print(f"user-steps {collected:6d}  mean return {ended.mean():.2f}", flush=True)
