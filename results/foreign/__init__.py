"""Traces that another tool logged, read into the tables that the classifier takes.

    names       what a column's name means: which metric, of which set
    files       CSV and Parquet, with the names that TensorBoard hides in file names
    shapes      long, wide and tidy tables, W&B and TensorBoard exports: all become one row a run and step
    units       percentages, metrics logged at different steps, losses in place of accuracies
    crossings   tables that hold crossing times instead of traces
    read        the whole way, with remarks on what was understood

What cannot be understood is refused with what was found, what is needed, and the `--map` that would do.
"""

from results.foreign.read import Foreign, ForeignError, read_foreign

__all__ = ["Foreign", "ForeignError", "read_foreign"]
