"""Show what the bins head's temperature and rebalancing do: python docs/training/vividness.py CHECKPOINT DATASET [N]

The network runs once per photograph; its distribution is turned into color in many ways. N photographs of val (default
200) are measured on the center that training crops had. Printed: mse, accuracy, PSNR, and colorfulness as a share
of the photographs' own. A choice is made permanent by `docs/training/ship.py RUN NAME temperature=T rebalance=R`.
"""

import sys

import torch

from raycolor import checkpoints
from raycolor.dataset import LabSplit, batches, read_dataset
from raycolor.metrics import MetricSums
from raycolor.models import BinsHead
from raycolor.precision import choose_precision
from raycolor.storage import open_store

WAYS = [(t, r) for r in (0.0, 0.2, 0.4, 0.6) for t in (1.0, 0.6, 0.38)]


def main(checkpoint: str, dataset: str, count: str = "200") -> None:
    """Measure every way."""
    loaded = checkpoints.load(checkpoint)
    network = loaded.model().to(memory_format=torch.channels_last)
    head = network.head
    if not isinstance(head, BinsHead):
        sys.exit(f"{checkpoint}: has no bins head")
    store = open_store(dataset)
    split = LabSplit(read_dataset(store), store, "val")
    sums = {way: MetricSums(full=False) for way in WAYS}
    bf16 = choose_precision("auto", torch.device("cpu")) == "bf16"
    crop = int(loaded.training["crop_px"])
    done = 0
    for batch in batches(split, epoch=0, seed=0, batch_size=8, crop_px=crop, training=False):
        if done >= int(count):
            break
        done += len(batch.ids)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = head(network._features(batch.L_net.contiguous(memory_format=torch.channels_last)))
        for (head.temperature, head.rebalance), one in sums.items():
            with torch.inference_mode():
                one.add(batch.L_net, network._enlarged(logits), batch.ab_net, batch.ids)
    print("| temperature | rebalance | mse | accuracy 10 | PSNR dB | colorfulness, share of the truth's |")
    print("|---:|---:|---:|---:|---:|---:|")
    for (temperature, rebalance), one in sums.items():
        result = {name: cell["value"] for name, cell in one.result(rounds=10).items()}
        truth = sum(one.values["colorfulness_truth"]) / done
        print(
            f"| {temperature} | {rebalance} | {result['mse']:.4f} | {result['accuracy_10']:.3f} | "
            f"{result['psnr_db']:.2f} | {result['colorfulness'] / truth:.2f} |"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
