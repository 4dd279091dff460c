"""`python -m raycolor`: the same as the console script."""

from raycolor.cli import main

if __name__ == "__main__":
    main()
