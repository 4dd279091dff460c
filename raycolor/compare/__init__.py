"""Colorized archives side by side."""
