"""Tables as Parquet files beside their checksum, so that no byte of them changes unseen."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def parquet(table: pa.Table, metadata: Mapping[bytes, bytes] | None = None) -> bytes:
    """`table` as a Parquet file, the same bytes for equal rows; its own metadata gives way to `metadata`."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.combine_chunks().replace_schema_metadata(dict(metadata) if metadata else None),
        sink,
        compression="zstd",
        row_group_size=1 << 16,
        write_page_checksum=True,
    )
    return sink.getvalue().to_pybytes()


def read_parquet(path: Path) -> pa.Table:
    """All rows of a file. Raises `pa.ArrowInvalid` or `OSError` for what is none."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read()


def holds(path: Path, content: bytes) -> bool:
    """Whether a file has this content. Raises `OSError` if it cannot be read."""
    return path.stat().st_size == len(content) and path.read_bytes() == content


def checksum_line(digest: str, name: str) -> str:
    """A checksum as `sha256sum -c` reads it beside the file of that name."""
    return f"{digest}  {name}\n"
