"""What several replicas of a GAN need, in one process or in several. On one device each function does what its first line says.

A replica has an equal part of the examples. Together the replicas take the steps of one device with all of the examples.
"""

import tensorflow as tf

from kgan.strategy import is_multiworker


def own_rows(draw, count):
    """Return `draw(count)`: the random rows of this replica's `count` examples.

    Rows are drawn for the examples of all replicas, of which each takes its own. A sample's noise so depends on its place
    among all examples and not on how many replicas there are.

    Args:
        draw: a function from a number of rows to a tensor of so many.
        count: examples of this replica; the others have as many.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return draw(count)
    start = tf.cast(context.replica_id_in_sync_group, tf.int32) * count
    return draw(context.num_replicas_in_sync * count)[start : start + count]


def share_of(loss):
    """Return the loss: this replica's part of the mean over all, because gradients are summed."""
    return loss / tf.distribute.get_replica_context().num_replicas_in_sync


def summed(gradients):
    """Return the gradients, summed over the replicas."""
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, gradients) if context.num_replicas_in_sync > 1 else gradients


def update(variables, function, *others):
    """Assign `function(variable, *other)` to each of the variables, on every replica alike.

    Args:
        variables: Keras's, equal on all replicas.
        function: returns the new value.
        *others: a list each, of the further variables that the function takes.
    """
    rows = [[each.value for each in row] for row in zip(variables, *others, strict=True)]
    context = tf.distribute.get_replica_context()

    def assign(variable, *other):
        variable.assign(function(variable, *other))

    def assign_on_all(strategy):
        for variable, *other in rows:
            strategy.extended.update(variable, assign, tuple(other), group=False)

    if context.num_replicas_in_sync > 1:
        context.merge_call(assign_on_all)
    else:
        for row in rows:
            assign(*row)


def reported(logs, strategy):
    """Return what a step reports: of several processes with an axis more, along which Keras takes their mean."""
    return {name: value[tf.newaxis] for name, value in logs.items()} if is_multiworker(strategy) else logs


def prepare(gan):
    """Return without a change: with a strategy, let Keras leave to this module what it cannot do for a GAN.

    Both names are private to Keras, which offers no other way. Keras's optimizer sums the gradients itself, after loss scaling
    has looked at those of one replica alone: one replica would skip a step that the others take. And before training Keras
    takes the mean of an element over the replicas, to build networks that are built already, which fails at a dictionary.
    """
    if not tf.distribute.has_strategy():
        return
    gan._maybe_symbolic_build = lambda *args, **kwargs: None
    for optimizer in (gan.generator_optimizer, gan.critic_optimizer):
        getattr(optimizer, "inner_optimizer", optimizer)._all_reduce_sum_gradients = list
