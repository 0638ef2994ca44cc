"""`python -m dnndk_prep`."""

from dnndk_prep.cli import entry

if __name__ == "__main__":
    entry()
