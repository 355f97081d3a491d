"""`python -m hsrl_agent` is the command `hsrl-agent`."""

import sys

from hsrl_agent.evaluation.cli import main

sys.exit(main())
