"""Network units and stored bytes: inverse pairs, ends, numpy and torch alike."""

import numpy as np
import pytest
import torch

from raycolor.color import scale


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_ends_of_network_units(make):
    """L 0..100 and ab -110..110 become -1..1, and come back."""
    L = make([0.0, 50.0, 100.0])
    ab = make([-110.0, 0.0, 110.0])
    assert scale.L_to_net(L).tolist() == [-1, 0, 1]
    assert scale.ab_to_net(ab).tolist() == [-1, 0, 1]
    assert scale.net_to_L(scale.L_to_net(L)).tolist() == L.tolist()
    assert scale.net_to_ab(scale.ab_to_net(ab)).tolist() == ab.tolist()


def test_every_stored_byte_survives():
    """Bytes read and stored again are the same bytes, for L and for ab."""
    L, ab = np.arange(256, dtype=np.uint8), np.arange(-128, 128, dtype=np.int8)
    wide = ab.astype(np.float32)
    assert (scale.L_to_bytes(scale.bytes_to_L(L)) == L).all()
    assert (scale.ab_to_bytes(scale.net_to_ab(scale.ab_to_net(wide))) == ab).all()
    assert scale.bytes_to_L(L).dtype == np.float32
    assert scale.L_to_bytes(scale.bytes_to_L(L)).dtype == np.uint8
    assert scale.ab_to_bytes(wide).dtype == np.int8


def test_bytes_are_clipped_and_lose_at_most_what_is_stated():
    """Values outside give the last byte of their end; those inside lose at most what is stated."""
    L = np.linspace(-5, 105, 9999).astype(np.float32)
    ab = np.linspace(-140, 140, 9999).astype(np.float32)
    assert scale.L_to_bytes(L)[[0, -1]].tolist() == [0, 255]
    assert scale.ab_to_bytes(ab)[[0, -1]].tolist() == [-128, 127]
    inside = (L >= 0) & (L <= 100)
    assert np.abs(scale.bytes_to_L(scale.L_to_bytes(L)) - L)[inside].max() < 0.2
    inside = (ab >= -128) & (ab <= 127)
    assert np.abs(scale.ab_to_bytes(ab) - ab)[inside].max() <= 0.5
