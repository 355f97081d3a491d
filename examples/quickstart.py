"""Show three random slates to one user, and print the clicks."""

import gymnasium as gym

import hsrl_gym  # noqa: F401  (registers the environments)

env = gym.make("HSRL-RL4RS-v0", render_mode="ansi")
env.action_space.seed(0)
observation, info = env.reset(seed=0)
print({name: values.shape for name, values in observation.items()}, "->", env.action_space.shape)
for _ in range(3):
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    print(env.render())
    if terminated or truncated:
        break
