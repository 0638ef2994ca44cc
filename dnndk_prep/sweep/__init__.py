"""Many runs of the pipeline: models x targets x settings of the quantizer, and one table of what came out."""
