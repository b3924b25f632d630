"""`python -m evcore`: the command line without the script."""

from evcore.cli import main

if __name__ == "__main__":
    main()
