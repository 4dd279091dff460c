"""Color: sRGB and Lab, network units, gamut, fused kernels, and telling gray from toned from color."""
