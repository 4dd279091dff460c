"""Average the weights of two trainings from one origin: python docs/training/average.py OUT A B SHARE

OUT has (1 - SHARE) of A's weights and SHARE of B's. Where B went on from A, their mean often errs less than either on
photographs unlike those of the training (Wortsman et al. 2021, arXiv:2109.01903). Count its normalization anew by
`recount.py`, and measure it by `raycolor evaluate` or `truth.py`: the metrics of B's training are not its own.
"""

import sys
from pathlib import Path

from raycolor.models import checkpoints


def main(out: str, a: str, b: str, share: str) -> None:
    """Average and save."""
    one, other = checkpoints.load(a), checkpoints.load(b)
    network = one.model()
    network.load_state_dict(
        {
            key: weight.float().lerp(other.weights[key].float(), float(share)) if weight.is_floating_point() else weight
            for key, weight in one.weights.items()
        }
    )
    checkpoints.save(
        Path(out), network, method=other.method, training=other.training, dataset=other.dataset, metrics={}
    )
    print(f"{out}: {other.name} by {share}, {one.name} by the rest")


if __name__ == "__main__":
    main(*sys.argv[1:])
