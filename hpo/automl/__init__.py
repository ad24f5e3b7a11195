"""The AutoML route: what an agent skill calls to search the hyperparameters of a network.

    from hpo import AutoML, AutoMLRunner, query_status

It decides between a search and one plain training, and drives the same engine as `hpo search`.
"""
