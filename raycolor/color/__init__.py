"""Color: sRGB and Lab, network units, gamut, fused kernels, ab bins, and telling gray from toned from color.

Import the modules by name: only `lab` and `bins` load torch, only `kernels` (and `sense`, through it) loads numba.
"""
