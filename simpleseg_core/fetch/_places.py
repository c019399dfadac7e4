"""Places of files that the configuration names by an fsspec URL."""

import fsspec


def place(url: str, key: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URL, and the path in it; nothing is asked of it yet.

    Raises:
        ValueError: no file system that is installed goes by this URL; the message names the key of the configuration.
    """
    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ValueError(f"{key}: {url} is no place that can be used ({error})") from None
    return system, path
