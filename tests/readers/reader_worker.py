"""Runs graphs in an old TensorFlow (Python 3.6, numpy and nothing else): a JSON line in, a JSON line out.

in:  {"graph": "x.pb", "feeds": "in.npz", "fetches": ["softmax"], "outputs": "out.npz"}
     {"meta": "tf_chkpt.ckpt.meta", "checkpoint": "tf_chkpt.ckpt", ...}   restores the checkpoint first
     {"graph": ..., "restore": {"op": "save/restore_all", "file": "save/Const:0", "checkpoint": "x.ckpt"}, ...}
out: {"error": null, "version": "1.9.0"} or {"error": "..."}
"""

import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf


def main():
    # What TensorFlow prints must not stand between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            run(json.loads(line))
            error = None
        except Exception as caught:
            error = "{}: {}".format(type(caught).__name__, caught)
        answers.write(json.dumps({"error": error, "version": tf.__version__}) + "\n")
        answers.flush()


def run(task):
    with np.load(task["feeds"]) as file:
        feeds = {name + ":0": file[name] for name in file.files}
    options = tf.ConfigProto(intra_op_parallelism_threads=2, inter_op_parallelism_threads=1)
    with tf.Graph().as_default() as graph, tf.Session(graph=graph, config=options) as session:
        if "meta" in task:
            tf.train.import_meta_graph(task["meta"], clear_devices=True).restore(session, task["checkpoint"])
        else:
            graph_def = tf.GraphDef()
            with open(task["graph"], "rb") as file:  # noqa: PTH123
                graph_def.ParseFromString(file.read())
            tf.import_graph_def(graph_def, name="")
        restore = task.get("restore")
        if restore:
            session.run(restore["op"], {restore["file"]: restore["checkpoint"]})
        outputs = session.run([name + ":0" for name in task["fetches"]], feeds)
    np.savez(task["outputs"], **{"y{}".format(i): value for i, value in enumerate(outputs)})


main()
