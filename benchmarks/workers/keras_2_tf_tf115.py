"""The first step of the flow of 2019 in TensorFlow 1.15: keras_2_tf_tf115.py MODEL.h5 FOLDER (Python 3.7).

Writes tf_chkpt.ckpt.*, tf_infer_graph.pb, and names.txt with the input's and the output's node.
"""

from __future__ import annotations

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf


def main() -> None:
    source, folder = sys.argv[1:]
    tf.keras.backend.set_learning_phase(0)
    model = tf.keras.models.load_model(source, compile=False)
    session = tf.compat.v1.keras.backend.get_session()
    tf.compat.v1.train.Saver().save(session, os.path.join(folder, "tf_chkpt.ckpt"))  # noqa: PTH118
    tf.io.write_graph(session.graph_def, folder, "tf_infer_graph.pb", as_text=False)
    with open(os.path.join(folder, "names.txt"), "w") as file:  # noqa: PTH118, PTH123
        file.write(f"{model.inputs[0].op.name} {model.outputs[0].op.name}")


if __name__ == "__main__":
    main()
