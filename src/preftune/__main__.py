"""`python -m preftune`, and so `accelerate launch -m preftune` and `torchrun -m preftune`."""

from preftune.cli.main import main

if __name__ == "__main__":
    main()
