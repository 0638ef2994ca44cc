"""Writes graphs of every kind as people of TensorFlow 1 wrote them (Python 3.6 - 3.7), and what they give in inference.

    python foreign_models.py FOLDER

Each case gets a folder with its files, in.npz and out.npz; the last line of the output is {case: file to enter with}.
"""

import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf

tf.logging.set_verbosity(tf.logging.ERROR)
RANDOM = np.random.RandomState(3)
IMAGES = RANDOM.rand(4, 12, 12, 3).astype("float32")
TO_CONSTANTS = tf.graph_util.convert_variables_to_constants


def write(folder, feeds, outputs):
    np.savez(os.path.join(folder, "in.npz"), **feeds)
    np.savez(os.path.join(folder, "out.npz"), **{"y%d" % i: value for i, value in enumerate(outputs)})


def start(session):
    """Variables as after a training: none is 0 or 1."""
    session.run(tf.global_variables_initializer())
    for variable in tf.global_variables():
        if variable.dtype.base_dtype == tf.float32:
            shape = variable.shape.as_list()
            variable.load(
                np.random.RandomState(len(variable.name)).uniform(0.1, 0.6, shape) - 0.2 * (len(shape) > 1), session
            )


def freeze(session, names, folder):
    graph_def = TO_CONSTANTS(session, session.graph_def, names)
    path = os.path.join(folder, "frozen.pb")
    with open(path, "wb") as file:
        file.write(graph_def.SerializeToString())
    return path


def save(session, folder):
    return tf.train.Saver().save(session, os.path.join(folder, "model.ckpt"), global_step=7)


def keras_phase(session, folder):
    L = tf.keras.layers  # noqa: N806
    x = image = L.Input((12, 12, 3), name="image")
    x = L.BatchNormalization(name="bn1")(L.Conv2D(6, 3, use_bias=False, name="conv1")(x))
    x = L.Dropout(0.5, name="drop")(L.Activation("relu", name="relu1")(x))
    x = L.Dense(4, activation="softmax", name="prob")(L.Flatten(name="flat")(x))
    start(session)
    phase = tf.keras.backend.learning_phase()
    write(folder, {"image": IMAGES}, [session.run(x, {image: IMAGES, phase: False})])
    return freeze(session, [x.op.name], folder)


def network(x, training, rate=0.4):
    x = tf.layers.conv2d(x, 5, 3, padding="same", name="conv1")
    x = tf.nn.relu(tf.layers.batch_normalization(x, training=training, name="bn1"), name="relu1")
    x = tf.layers.max_pooling2d(x, 2, 2, name="pool1")
    x = tf.layers.dropout(tf.layers.flatten(x, name="flat"), rate, training=training, name="drop1")
    return tf.layers.dense(x, 4, name="logits")


def trained(logits):
    """What a training adds."""
    labels = tf.placeholder(tf.int64, [None], name="labels")
    loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
    tf.summary.scalar("loss", loss)
    predicted = tf.argmax(logits, 1, name="predicted")
    tf.reduce_mean(tf.cast(tf.equal(predicted, labels), tf.float32), name="accuracy")
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        tf.train.AdamOptimizer(0.01).minimize(loss, global_step=tf.train.get_or_create_global_step())
    tf.summary.merge_all()


def layers_flag(session, folder):
    image = tf.placeholder(tf.float32, [None, 12, 12, 3], name="image")
    flag = tf.placeholder(tf.bool, [], name="is_training")
    logits = network(image, flag)
    trained(logits)
    start(session)
    write(folder, {"image": IMAGES}, [session.run(logits, {image: IMAGES, flag: False})])
    return save(session, folder) + ".meta"


def keep_prob(session, folder):
    image = tf.placeholder(tf.float32, [None, 12, 12, 3], name="image")
    share = tf.placeholder(tf.float32, name="keep_prob")
    with tf.variable_scope("net/conv1"):
        weights = tf.get_variable("weights", [3, 3, 3, 4])
        x = tf.nn.conv2d(image, weights, [1, 2, 2, 1], "SAME") + tf.get_variable("biases", [4])
    x = tf.reshape(tf.nn.relu6(x), [-1, 6 * 6 * 4])
    x = tf.nn.dropout(x, keep_prob=share)
    with tf.variable_scope("net/fc"):
        x = tf.matmul(x, tf.get_variable("weights", [144, 3])) + tf.get_variable("biases", [3])
    probabilities = tf.nn.softmax(x, name="probabilities")
    start(session)
    write(folder, {"image": IMAGES}, [session.run(probabilities, {image: IMAGES, share: 1.0})])
    prefix = save(session, folder)
    os.rename(prefix + ".meta", os.path.join(folder, "unused"))
    tf.train.write_graph(session.graph_def, folder, "graph.pbtxt")
    return os.path.join(folder, "graph.pbtxt")


def training_mode(session, folder):
    """A graph that knows of training alone; what it gives in inference is told by its twin."""
    with tf.variable_scope("net"):
        image = tf.placeholder(tf.float32, [None, 12, 12, 3], name="image")
        logits = network(image, True)
        trained(logits)
    start(session)
    save(session, folder)
    with tf.variable_scope("net", reuse=True):
        twin = network(image, False)
    values = session.run(twin, {image: IMAGES})
    write(folder, {"image": IMAGES}, [values])
    return os.path.join(folder, "model.ckpt-7.meta")


def saved_model(session, folder):
    right = tf.placeholder(tf.float32, [None, 12, 12, 3], name="right_image")
    left = tf.placeholder(tf.float32, [None, 12, 12, 3], name="left_image")
    both = tf.concat([left, 2.0 * right], -1)
    x = tf.layers.conv2d(both, 4, 3, dilation_rate=2, activation=tf.nn.relu, name="conv1")
    maps = tf.layers.conv2d_transpose(x, 2, 3, 2, "same", name="up1")
    score = tf.layers.dense(tf.reduce_mean(x, [1, 2]), 3, name="score")
    start(session)
    feeds = {"left": IMAGES, "right": IMAGES[::-1]}
    outputs = session.run([maps, score], {left: feeds["left"], right: feeds["right"]})
    write(folder, feeds, outputs)
    path = os.path.join(folder, "saved")
    tf.saved_model.simple_save(session, path, {"right": right, "left": left}, {"score": score, "maps": maps})
    return path


def loop(session, folder):
    series = tf.placeholder(tf.float32, [None, 7, 3], name="series")
    cell = tf.nn.rnn_cell.GRUCell(5, name="gru")
    values, state = tf.nn.dynamic_rnn(cell, series, dtype=tf.float32)
    score = tf.layers.dense(state, 2, name="score")
    start(session)
    feed = IMAGES[:, :7, 0]
    write(folder, {"series": feed}, [session.run(score, {series: feed})])
    return freeze(session, [score.op.name], folder)


def flattens(session, folder):
    """A Flatten as each way to write one leaves it in a graph."""
    image = tf.placeholder(tf.float32, [None, 12, 12, 3], name="image")
    x = tf.layers.conv2d(image, 4, 3, 2, activation=tf.nn.relu, name="conv1")
    by_hand = tf.reshape(x, tf.stack([tf.shape(x)[0], tf.reduce_prod(tf.shape(x)[1:])]), name="by_hand/flat")
    flat = [
        tf.layers.flatten(x, name="layers_flat"),
        tf.keras.layers.Flatten(name="keras_flat")(x),
        tf.contrib.layers.flatten(x, scope="slim_flat"),
        tf.reshape(x, [tf.shape(x)[0], 100], name="half/flat"),
        by_hand,
    ]
    # matmul, since tf.layers.dense wants to know the last axis, and by hand nobody tells.
    parts = [tf.matmul(one, tf.get_variable("weights%d" % i, [100, 3])) for i, one in enumerate(flat)]
    score = tf.add_n(parts, name="score")
    start(session)
    write(folder, {"image": IMAGES}, [session.run(score, {image: IMAGES})])
    return freeze(session, [score.op.name], folder)


CASES = [keras_phase, layers_flag, keep_prob, training_mode, saved_model, loop, flattens]


def main():
    entered = {}
    for case in CASES:
        folder = os.path.join(sys.argv[1], case.__name__)
        os.mkdir(folder)
        tf.keras.backend.clear_session()
        tf.reset_default_graph()
        tf.set_random_seed(1)
        with tf.Graph().as_default(), tf.Session() as session:
            tf.keras.backend.set_session(session)
            entered[case.__name__] = case(session, folder)
    print(json.dumps(entered))


main()
