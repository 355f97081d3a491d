"""PPO of RLlib's new API stack; a connector flattens profile and history, which its default networks do not take apart.

Install: pip install -c constraints-rllib.txt -e . 'ray[rllib]'   # in its own venv: RLlib pins an older Gymnasium
Run:     python examples/rllib_ppo.py --steps 16384
"""

import argparse

import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.connectors.env_to_module import FlattenObservations
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

parser = argparse.ArgumentParser()
parser.add_argument("--env", default="HSRL-RL4RS-v0")
parser.add_argument("--steps", type=int, default=16_384, help="user-steps of training")
parser.add_argument("--num-env-runners", type=int, default=0, help="processes that act; 0 acts in this one")
args = parser.parse_args()

ray.init(include_dashboard=False)
config = (
    PPOConfig()
    .environment(f"hsrl_gym:{args.env}", env_config={"action_mode": "sid"})  # "module:id" imports it in every process
    .env_runners(
        num_env_runners=args.num_env_runners,
        num_envs_per_env_runner=8,
        env_to_module_connector=lambda env, spaces, device: FlattenObservations(),
    )
    .training(train_batch_size_per_learner=512, minibatch_size=128, num_epochs=4, lr=1e-3, gamma=0.9)
    .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64, 64]))
    .debugging(seed=0, log_level="ERROR")
)
algorithm = config.build_algo()
for _ in range(max(1, args.steps // 512)):
    runners = algorithm.train()["env_runners"]
    steps, mean = runners["num_env_steps_sampled_lifetime"], runners["episode_return_mean"]
    print(f"user-steps {steps:6.0f}  mean return {mean:.2f}", flush=True)
algorithm.stop()
