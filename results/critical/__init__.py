"""Critical sizes, memory, zones and descents: what the runs of a sweep say together.

settings    every threshold, and the version of the readings
outcomes    what a run did by a share of its budget
logistic    where along an axis a share of the seeds does something; its interval
sizes       D05, D50 and D95 for each value of an axis, and whether they still move
memory      D_mem, from a sweep of random labels
star        where the curves of both cross
zones       what both curves foretell of labels, and how well
prediction  Huang et al.'s double descent, foretold by the star
modelwise   validation that comes long after training, along width
half_width  the width that generalizing takes, and its shift between two sweeps
intervals   of a few seeds: Student's, the jackknife's
smooth      traces as curves over time, for descents over steps
findings    all of it in one value
report, table   findings in words, and as rows
"""
