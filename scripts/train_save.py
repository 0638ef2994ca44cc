"""Train and save the model, as pipeline.yaml says; words on the command line go to `dnndk-prep run`."""

import sys

import _entry  # noqa: F401

from dnndk_prep import cli

if __name__ == "__main__":
    sys.exit(cli.main(["run", "pipeline.yaml", "--only", "train_save", *sys.argv[1:]]))
