"""Colorize one photograph, without storage and Ray."""
