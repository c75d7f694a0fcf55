"""Functions for training on several replicas, in one process or in several. They also work on a single device.

Each replica has an equal part of the examples. Together the replicas take the same steps as one device with all examples.
"""

import tensorflow as tf

from kgan.strategy import is_multiworker


def own_rows(draw, count):
    """Return the random rows for this replica's `count` examples; on one device, `draw(count)`.

    Rows are drawn for the examples of all replicas, and each replica takes its own. The noise of an example therefore
    depends on its place among all examples, not on the number of replicas.

    Args:
        draw: Function from a number of rows to a tensor with that many rows.
        count: Number of examples on each replica.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return draw(count)
    start = tf.cast(context.replica_id_in_sync_group, tf.int32) * count
    return draw(context.num_replicas_in_sync * count)[start : start + count]


def share_of(loss):
    """Return the loss divided by the number of replicas: gradients are summed, so the loss is a mean over all examples."""
    return loss / tf.distribute.get_replica_context().num_replicas_in_sync


def summed(gradients):
    """Return the sum of the gradients over all replicas."""
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, gradients) if context.num_replicas_in_sync > 1 else gradients


def update(variables, function, *others):
    """Assign `function(variable, *other)` to each variable, on every replica.

    Args:
        variables: Keras variables that are equal on all replicas.
        function: Returns the new value.
        *others: Lists of further variables that the function takes.
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
    """Return the logs of a step. With several processes, add an axis, along which Keras takes the mean."""
    return {name: value[tf.newaxis] for name, value in logs.items()} if is_multiworker(strategy) else logs


def prepare(gan):
    """Switch off two steps of Keras that fail for a GAN under a distribution strategy. Without a strategy, do nothing.

    Both attributes are private to Keras, which offers no public alternative. First, Keras's optimizer sums the gradients
    only after loss scaling has checked those of a single replica, so one replica could skip a step that the others take.
    Second, before training, Keras averages an element over the replicas to build the networks. They are already built, and
    this fails if the element is a dictionary.
    """
    if not tf.distribute.has_strategy():
        return
    gan._maybe_symbolic_build = lambda *args, **kwargs: None
    for optimizer in (gan.generator_optimizer, gan.critic_optimizer):
        getattr(optimizer, "inner_optimizer", optimizer)._all_reduce_sum_gradients = list
