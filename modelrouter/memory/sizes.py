"""Sizes as messages say them to a person."""


def in_words(size_bytes: int) -> str:
    """Return a size in GiB, below one in MiB, below one of those in KiB: as IEC 80000-13 has them.

    Nothing at all is 0.0 MiB.
    """
    if size_bytes >= 2**30:
        return f"{size_bytes / 2**30:.2f} GiB"
    if size_bytes >= 2**20 or not size_bytes:
        return f"{size_bytes / 2**20:.1f} MiB"
    return f"{size_bytes / 2**10:.1f} KiB"
