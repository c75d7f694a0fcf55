"""Names for the arrays of a checkpoint: paths within the networks that are the same in every process."""

import re
from collections import Counter, defaultdict

import keras


def named_arrays(layers, optimizers):
    """Return the variables of layers and optimizers by name, and whether any optimizer's arrays differ by order alone.

    A name is a path of layer names, such as `critic/head/kernel`. A layer without a name of its own is named after its class
    and its position among such layers of its parent, as in `critic/strided_conv1d_2/kernel`, because the number that Keras
    gives it depends on what was built before. The state that an optimizer keeps for a variable is named after the variable's
    path, as in `critic_optimizer/head/kernel/momentum`. If an optimizer does not say which variable its arrays belong to (for
    example Adafactor), they are numbered.

    Args:
        layers: `{name: layer}`. Variables that two layers share are named after the first.
        optimizers: `{name: (optimizer, layer)}`: each optimizer with the layer that it trains.

    Raises:
        ValueError: two arrays have the same name.
    """
    pairs, seen = [], set()
    for part, layer in layers.items():
        pairs += _of_layer(layer, part, seen)
    paths = {id(variable): name.partition("/")[2] for name, variable in pairs}
    counted = False
    for part, (optimizer, layer) in optimizers.items():
        names = _of_optimizer(optimizer, [(paths[id(variable)], variable) for variable in layer.variables])
        counted = counted or len(set(names)) < len(names)
        pairs += [(f"{part}/{name}", variable) for name, variable in zip(_numbered(names), optimizer.variables, strict=True)]
    counts = Counter(name for name, _ in pairs)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        rule = "Each array of a checkpoint must have a name of its own: give the layers other names."
        raise ValueError(f"{rule} Received twice: {', '.join(twice)}")
    return dict(pairs), counted


def differences(arrays, variables, counted):
    """Return how a checkpoint's arrays differ from those of `named_arrays`: a phrase for each kind of difference."""
    lacking = [name for name in variables if name not in arrays]
    surplus = [name for name in arrays if name not in variables]
    other = [name for name, array in arrays.items() if name in variables and _kind(array) != _kind(variables[name])]
    found = [f"it lacks {_first(lacking)}"] if lacking else []
    found += [f"it holds {_first(surplus)}, which the network lacks"] if surplus else []
    found += [f"{_first(other)} is {_kind(arrays[other[0]])}, not {_kind(variables[other[0]])}"] if other else []
    if not found and counted and list(arrays) != list(variables):
        moved = next(name for name, mine in zip(arrays, variables, strict=True) if name != mine)
        found = [f"{moved} has another place, and by their places alone the optimizer tells its arrays apart"]
    return found


def _first(names):
    return names[0] + (f" (first of {len(names)})" if len(names) > 1 else "")


def _kind(array):
    return f"{tuple(array.shape)} {array.dtype}"


def _of_layer(layer, path, seen):
    """Yield `(name, variable)` for all variables of a layer; `seen` holds the ids of layers and variables already named."""
    seen.add(id(layer))
    new = {id(variable): variable for variable in layer.variables if id(variable) not in seen}
    children = [child for child in _children(layer) if id(child) not in seen and any(id(v) in new for v in child.variables)]
    of_children = {id(variable) for child in children for variable in child.variables}
    own = [variable for key, variable in new.items() if key not in of_children]
    seen.update(map(id, own))
    names = [_unnumbered(_without_number_of(layer, variable.name)) for variable in own]
    yield from ((f"{path}/{name}", variable) for name, variable in zip(_numbered(names), own, strict=True))
    for name, child in zip(_names_of_layers(children, layer), children, strict=True):
        yield from _of_layer(child, f"{path}/{name}", seen)


def _children(layer):
    """Return the layers in a layer's attributes, in order and without repeats."""
    if isinstance(layer, keras.Model):
        return layer.layers
    return list({id(child): child for child in _layers_in(vars(layer))}.values())


def _layers_in(value):
    if isinstance(value, keras.Layer):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _layers_in(each)


def _names_of_layers(layers, parent):
    """Yield a name for each layer: its own or, without one, its class and its position among unnamed layers."""
    place = 0
    for layer in layers:
        # The two layers in a Bidirectional are named after the layer that was passed to it.
        side = "forward_|backward_" if isinstance(parent, keras.layers.Bidirectional) else ""
        automatic = re.fullmatch(rf"((?:{side}){_class_name(layer)})(_\d+)?", layer.name)
        if automatic:
            yield f"{automatic[1]}_{place}" if place else automatic[1]
            place += 1
        else:
            yield _without_number_of(parent, layer.name)


def _without_number_of(layer, name):
    """Remove the number of a layer's automatic name from a name that begins with it: `block_3_head` becomes `block_head`."""
    kind = _class_name(layer)
    if re.fullmatch(rf"{kind}_\d+", layer.name) and name.startswith(f"{layer.name}_"):
        return kind + name.removeprefix(layer.name)
    return name


def _unnumbered(name):
    """Return a variable's name, without the number if Keras chose the name."""
    return "variable" if re.fullmatch(r"variable_\d+", name) else name


def _class_name(layer):
    """Return a layer's class name in snake case, which Keras names the layer after."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def _of_optimizer(optimizer, variables):
    """Return the names of an optimizer's variables; `variables` are `(path, variable)` pairs of what it trains."""
    paths, taken = defaultdict(list), Counter()
    for path, variable in variables:
        paths[variable.path.replace("/", "_")].append(path)  # Keras's prefix for an optimizer's state
    names = []
    for variable in optimizer.variables:
        owner = variable.path.rpartition("/")[0]  # a nested optimizer has its own name
        prefix = "" if owner in ("", optimizer.name) else re.sub(r"_\d+$", "", owner) + "/"
        beginning = max((each for each in paths if f"{variable.name}_".startswith(f"{each}_")), key=len, default=None)
        if beginning is None:
            names.append(prefix + _unnumbered(variable.name))
            continue
        place = min(taken[variable.path], len(paths[beginning]) - 1)  # in Keras several variables may share a path
        taken[variable.path] += 1
        kept = variable.name[len(beginning) + 1 :]  # such as `momentum`
        names.append(prefix + paths[beginning][place] + (f"/{kept}" if kept else ""))
    return names


def _numbered(names):
    """Yield the names; add a number to repeated ones."""
    counts = Counter()
    for name in names:
        yield f"{name}_{counts[name]}" if counts[name] else name
        counts[name] += 1
