"""What the shipped moderation finds, misses and costs, on files it was not trained on.

In the order data flows: `load` reads the files, `readings` has the pipeline judge them, `measure` and
`cascade` make figures of the verdicts with what is in `stats`, `rivals` does the same with other classifiers,
`cost` takes the time, `report` and `plots` write it down. `bench` is the command.
"""
