"""Sizes as messages say them to a person."""


def in_words(size_bytes: int) -> str:
    """Return a size in GiB, in MiB below one GiB: both as IEC 80000-13 has them."""
    if size_bytes >= 2**30:
        return f"{size_bytes / 2**30:.2f} GiB"
    return f"{size_bytes / 2**20:.1f} MiB"
