"""`python -m streame`: the command line."""

from streame.cli.main import app

if __name__ == "__main__":
    app()
