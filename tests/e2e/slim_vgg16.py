"""Writes a checkpoint of TF-Slim's own VGG16 with TensorFlow 1.15, as people have trained them, and what it computes.

python slim_vgg16.py FOLDER: FOLDER/image.npy in, FOLDER/vgg_16.ckpt.* and FOLDER/scores.npy out.
"""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf
from tensorflow.contrib.slim.python.slim.nets import vgg


def main(folder):
    tf.set_random_seed(7)
    image = np.load(os.path.join(folder, "image.npy"))  # noqa: PTH118
    batch = tf.placeholder(tf.float32, image.shape)
    logits, _ = vgg.vgg_16(batch, num_classes=1000, is_training=False)
    weights = tf.trainable_variables()
    small = [variable for variable in weights if "biases" in variable.name]
    # What training leaves beside the weights; for the small ones alone, since the large ones would fill the disk.
    step = tf.train.create_global_step()
    loss = tf.reduce_mean(logits)
    training = [
        tf.train.AdamOptimizer().minimize(loss, step, small),
        tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, var_list=small[:3]),
    ]
    training.append(tf.train.ExponentialMovingAverage(0.9).apply(small))
    random = [tf.assign(variable, tf.random_uniform(variable.shape, -0.1, 0.1)) for variable in small]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(random)
        np.save(os.path.join(folder, "scores.npy"), session.run(tf.nn.softmax(logits), {batch: image}))  # noqa: PTH118
        tf.train.Saver().save(session, os.path.join(folder, "vgg_16.ckpt"))  # noqa: PTH118
    assert len(training) == 3


main(sys.argv[1])
