"""`python -m placewise`, which `torchrun -m placewise` needs."""

from placewise.cli import main

if __name__ == "__main__":
    main()
