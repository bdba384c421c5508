"""Where work runs: Dask workers, embedded or on a cluster, the queue of trainings, and the questions to the workers.

May use `errors` to `training`. Imported by server, scheduler and workers, so nothing here imports TensorFlow at its
top.
"""
