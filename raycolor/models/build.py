"""The networks of the report, and a better one, behind one `build_model(name, config)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from raycolor.errors import ConfigError
from raycolor.models.autoencoder import Autoencoder, AutoencoderConfig
from raycolor.models.blocks import ColorNet, read_config
from raycolor.models.ensemble import Ensemble, EnsembleConfig
from raycolor.models.gan import DiscriminatorConfig, GanConfig, GanGenerator, PatchDiscriminator
from raycolor.models.regression import RegressionConfig, RegressionNet
from raycolor.models.unet import UNet, UNetConfig

MODEL_NAMES: Final[tuple[str, ...]] = ("regression", "autoencoder", "gan", "unet")  # those that can be trained


def build_model(name: str, config: Mapping[str, Any] | None = None, *, pretrained: bool = True) -> ColorNet:
    """Build a network with fresh weights.

    Args:
        name: `regression`, `autoencoder`, `gan` (its generator), `unet`, or `ensemble` of some of these.
        config: what the network's configuration class takes; missing keys take their defaults.
        pretrained: load the encoder weights that the configuration asks for; False where saved weights will replace
            them anyway.

    Raises:
        ConfigError: an unknown name, an unknown key, or a value out of bounds.
    """
    owner = f"network {name}"
    if name == "regression":
        return RegressionNet(read_config(RegressionConfig, owner, config))
    if name == "autoencoder":
        return Autoencoder(read_config(AutoencoderConfig, owner, config))
    if name == "gan":
        return GanGenerator(read_config(GanConfig, owner, config))
    if name == "unet":
        return UNet(read_config(UNetConfig, owner, config), load=pretrained)
    if name == "ensemble":
        settings = read_config(EnsembleConfig, owner, config)
        return Ensemble(settings, [build_model(m.name, m.config, pretrained=pretrained) for m in settings.members])
    raise ConfigError(f"network {name!r}: unknown: choose one of {', '.join(MODEL_NAMES)}")


def build_discriminator(config: Mapping[str, Any] | None = None) -> PatchDiscriminator:
    """Build the discriminator of the GAN with fresh weights.

    Raises:
        ConfigError: an unknown key, or a value out of bounds.
    """
    return PatchDiscriminator(read_config(DiscriminatorConfig, "discriminator", config))
