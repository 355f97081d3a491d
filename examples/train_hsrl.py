"""Train HSRL on the packaged RL4RS users, save it, and show a slate.

python examples/train_hsrl.py [USER_STEPS] [PRETRAIN_EPOCHS]
"""

import sys

from hsrl_agent import HSRL, make_vec_env

given = [int(argument) for argument in sys.argv[1:]]
steps, epochs = given + [9600, 8][len(given) :]
env = make_vec_env("HSRL-RL4RS-v0", num_envs=32, seed=0)
agent = HSRL("HSRLPolicy", env, seed=0)
loss = agent.pretrain(epochs=epochs)  # on the logged slates of the bundle; learn() would do it otherwise
print(f"held-out loss of the log {loss:.3f}")
agent.learn(total_timesteps=steps)
agent.save("trained_hsrl")  # trained_hsrl.zip

agent = HSRL.load("trained_hsrl", env)
actions, _ = agent.predict(env.reset(), deterministic=True)
_, rewards, _, infos = env.step(actions)
print("slate", infos[0]["slate"], "clicks", infos[0]["clicks"], f"mean reward of the first step {rewards.mean():.2f}")
