"""Makes reviews.npz, made-up reviews as numbers of words, in the form of Keras' imdb.npz."""

import numpy as np

random = np.random.default_rng(0)
GOOD, BAD, PLAIN = range(10, 40), range(40, 70), range(70, 2000)


def reviews(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Reviews of 20 to 120 words, a fifth of which are good ones or bad ones; the label is 1 for good."""
    labels = random.integers(0, 2, count)
    texts = np.empty(count, dtype=object)
    for i, label in enumerate(labels):
        words = random.choice(PLAIN, random.integers(20, 121))
        told = random.random(len(words)) < 0.2
        words[told] = random.choice(GOOD if label else BAD, told.sum())
        texts[i] = words.tolist()
    return texts, labels


x_train, y_train = reviews(1500)
x_test, y_test = reviews(300)
np.savez("reviews.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
print("reviews.npz:", len(x_train), "reviews to learn from,", len(x_test), "to test with")
