"""Laws of a run's page: its curve, its photographs after each epoch, its settings."""

import re

import torch

from raycolor.storage import open_store
from raycolor.train.page import write_page
from raycolor.training.loop import curve_csv
from raycolor.training.samples import sample_files

SETTINGS = {"method": "<gan>", "epochs": 40, "patience": None, "optim": {"lr": 0.001}}


def write_run(folder, epochs):
    """Write what a training of so many epochs leaves for its page; the third is the best."""
    curve = [
        {"epoch": float(k), "lr": 1e-3, "train_loss": 1 / k, "val_n": 6.0, "val_mse": 0.01 + abs(k - 3)}
        for k in range(1, epochs + 1)
    ]
    store = open_store(folder)
    store.put("curve.csv", curve_csv(curve))
    planes = torch.zeros(8, 1, 16, 16), torch.full((8, 2, 16, 16), 0.2), torch.full((8, 2, 16, 16), torch.nan)
    for epoch in range(1, epochs + 1):
        for name, data in sample_files(epoch, planes[0], planes[2], planes[1]).items():
            store.put(name, data)
    return store


def test_the_page_has_curve_settings_and_the_same_photographs_after_each_epoch(tmp_path):
    """One self-contained page; of many epochs some, with the first, the last and the one that is kept."""
    store = write_run(tmp_path, 40)
    write_page(store, SETTINGS)
    page = store.get("index.html").decode()
    captions = re.findall(r"<figcaption>(what the network sees|after epoch \d+|the photographs)", page)
    epochs = [int(caption.split()[-1]) for caption in captions[1:-1]]
    assert (captions[0], captions[-1]) == ("what the network sees", "the photographs")
    assert {1, 3, 40} <= set(epochs)
    assert epochs == sorted(epochs)
    assert len(epochs) <= 13
    assert "after epoch 3, the one that is kept" in page
    assert page.count('src="data:image/jpeg') == len(captions)
    assert {"train_loss", "val_mse", "lr"} == set(re.findall(r"<title>([a-z_]+)</title>", page))
    assert "A &lt;gan&gt; training" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    write_page(store, SETTINGS)
    assert store.get("index.html").decode() == page


def test_a_run_without_pictures_or_epochs_has_what_there_is(tmp_path):
    """A run of an earlier raycolor has no pictures; one without an ended epoch has no page."""
    store = open_store(tmp_path)
    write_page(store, SETTINGS)
    assert not (tmp_path / "index.html").exists()
    store.put("curve.csv", curve_csv([{"epoch": 1.0, "train_loss": 1.0}]))
    write_page(store, SETTINGS)
    assert "<img" not in store.get("index.html").decode()
