"""Print the paper's Table 2: the same as `hsrl-agent compare`.

python benchmarks/compare.py --preset quick
python benchmarks/compare.py --table 3
python benchmarks/compare.py --figure 5
python benchmarks/compare.py --table churn --envs HSRL-ML1M-v0 --seeds 0,1
python benchmarks/compare.py --figure churn --envs HSRL-ML1M-v0 --seeds 0,1
python benchmarks/compare.py --envs HSRL-ML100K-v0 --methods sl,a2c,hsrl --seeds 0,1,2 --steps 64000
python benchmarks/compare.py --agent examples.my_agent:MyAgent
python benchmarks/compare.py --bundle bundles/mine --methods popularity,sl,a2c-pretrained,hsrl
"""

import sys

from hsrl_agent.evaluation.compare import main, parser

__all__ = ["main", "parser"]

if __name__ == "__main__":
    sys.exit(main(name="compare.py"))
