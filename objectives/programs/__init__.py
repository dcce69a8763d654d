"""Programs as data: readable losses, estimators, optimizers and schedules that a search can change.

A program is a small typed graph (`graph`) over the inputs of a slot (`slots`), built of total primitives
(`primitives`). People and language models write it as a restricted Python function, which is parsed and never
executed (`source`), and read it as Python or as a formula (`printer`). As arrays it is an ordinary entry of
`meta_params`, which `interpreter` runs inside a compiled training. How it is written out for other libraries,
`spellings` and `guards` say.
"""
