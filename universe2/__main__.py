"""``python -m universe2``: the same as the ``universe2`` command."""

from universe2.cli import main

if __name__ == "__main__":
    main()
