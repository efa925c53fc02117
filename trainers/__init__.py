"""How one pack of runs is trained.

Knows torch, reads inputs, writes nothing; knows no cluster, no store and no command line. Read `trainers.loop` first.
Modules that plans are made from (`config`, `expressions`, `tasks`, `models.layout`, `cost`) do without torch.
"""
