"""Parquet to and from bytes in memory. The same table gives the same bytes, with the same version of arrow.

Files are written in one piece from memory, never through an open writer: a writer that is left by an exception closes
with a valid footer, and no reader can tell the short file from a whole one.
"""

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_GROUP = 1 << 18
SMOOTH = ("train_loss", "val_loss", "param_norm")
"""Columns in which hardly a value occurs twice: split by bytes instead of put into a dictionary."""


def encode(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=ROWS_PER_GROUP,
        compression="zstd",
        use_dictionary=[name for name in table.column_names if name not in SMOOTH],
        use_byte_stream_split=[name for name in table.column_names if name in SMOOTH],
    )
    return bytes(sink.getvalue())


def decode(data: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(data), use_threads=False)
