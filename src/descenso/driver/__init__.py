"""The driver: `minimize`, and the run that it drives from look to look.

loop: the course of a run. run: what it holds. retreat: going back. arrival, endings: whether it has arrived. outcome:
what it gives back. prepare, inputs: everything before the first step. resume: how it is kept and gone on with. stretch,
pace: the steps between two looks. spending: the budget. telling, interrupt: the caller's side.
"""
