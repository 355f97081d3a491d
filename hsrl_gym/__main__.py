"""`python -m hsrl_gym` is the command `hsrl-gym`."""

import sys

from hsrl_gym.cli import main

sys.exit(main())
