"""A Python job: it is imported once and called for each run; what it prints is the run's output."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def largest_files(top: int = 10, folder: str = "jobsup") -> None:
    """Print the `top` largest files below a folder of this repository, with their sizes in bytes."""
    sizes = [(path.stat().st_size, path) for path in (REPOSITORY / folder).rglob("*") if path.is_file()]
    for size, path in sorted(sizes, reverse=True)[:top]:
        print(f"{size:>10,}  {path.relative_to(REPOSITORY)}")  # noqa: T201  # its output is its result
    print(f"{sum(size for size, _ in sizes):>10,}  in {len(sizes)} files")  # noqa: T201  # as above
