"""Critical sizes, memory, zones and descents: what the runs of a sweep say together.

outcomes    what a run did by a share of its budget
logistic    where along an axis a share of the seeds does something; its interval
"""
