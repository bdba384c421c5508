"""Where work runs: Dask workers, embedded or on a cluster, the queue of trainings, and whatever a worker is asked.

May use `errors` to `training`. Imported by server, scheduler and workers, so nothing here imports TensorFlow at its top.
"""
