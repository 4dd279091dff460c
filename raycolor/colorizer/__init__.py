"""One photograph in, one colorized photograph out: the whole chain but for storage and Ray."""

from raycolor.colorizer.photograph import Colorized, Colorizer, Prepared, flags_of, network_shape
from raycolor.colorizer.predict import Batcher, Predict, Predicted, Predictor

__all__ = [
    "Batcher",
    "Colorized",
    "Colorizer",
    "Predict",
    "Predicted",
    "Predictor",
    "Prepared",
    "flags_of",
    "network_shape",
]
