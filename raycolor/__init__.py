"""raycolor: colorization of black-and-white photographs as a distributed job on Ray."""

__version__ = "0.1.0"
