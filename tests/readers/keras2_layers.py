"""Prints the layers of this Keras 2 with the settings that each takes; runs in Python 3.8 and later.

The words are names of TensorFlow's functions; those that it does not have are printed, too.
"""

import inspect
import json
import operator
import sys

# What every layer takes.
COMMON = {"name", "dtype", "trainable", "dynamic", "weights", "autocast", "implementation", "activity_regularizer"}


def told(keras):
    base = keras.layers.Layer
    found = {}
    for name in dir(keras.layers):
        kind = getattr(keras.layers, name)
        if isinstance(kind, type) and issubclass(kind, base):
            found[name] = sorted(settings(kind, base))
    return {"layers": found, "activations": [name for name in dir(keras.activations) if name[0] != "_"]}


def settings(kind, base):
    """The arguments of the class and of those beneath it, as far as each hands on what it does not know."""
    names = set()
    for part in kind.__mro__:
        # Random layers stand on one that is none of the public ones.
        if part is base or part.__module__.endswith("base_layer"):
            break
        if "__init__" not in vars(part):
            continue
        arguments = inspect.signature(part.__init__).parameters.values()
        names |= {one.name for one in arguments if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
        if not any(one.kind is one.VAR_KEYWORD for one in arguments):
            break
    return names - COMMON - {"self"}


def has(module, name):
    try:
        operator.attrgetter(name)(module)
    except AttributeError:
        return False
    return True


if __name__ == "__main__":
    import tensorflow

    unknown = [name for name in sys.argv[1:] if not has(tensorflow, name)]
    print(json.dumps({**told(tensorflow.keras), "unknown": unknown}))
