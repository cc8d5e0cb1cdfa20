"""Downloads with a checksum, a progress bar and mirrors that are tried in turn."""

from __future__ import annotations

import logging
from pathlib import Path

import pooch
import requests

from batchot.data.errors import DownloadError

logger = logging.getLogger(__name__)


def download_file(urls: tuple[str, ...], checksum: str, path: Path, *, timeout: float = 30.0) -> Path:
    """Download a file from the first mirror that gives it whole.

    The file is written under a temporary name and gets its own only once the checksum is right, so that a
    download that was killed never leaves a file that looks whole. A file that is there already with the right
    checksum is kept.

    Args:
        urls: addresses of the same file, in the order in which they are tried.
        checksum: of the whole file: MD5 in 32 hexadecimal digits, or SHA-256 in 64.
        path: where it goes; folders are made.
        timeout: seconds without an answer after which an address is given up.

    Returns:
        ``path``.

    Raises:
        DownloadError: when no address gave the file, with each address and what was wrong there, or when the
            file cannot be written.

    Example:
        >>> import hashlib, tempfile
        >>> from batchot.data.download import download_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "file"
        ...     _ = path.write_bytes(b"here already")
        ...     download_file((), hashlib.md5(b"here already").hexdigest(), path).name
        'file'
    """
    algorithm = "sha256" if len(checksum) == 64 else "md5"
    if path.is_file() and pooch.file_hash(str(path), alg=algorithm) == checksum:
        return path
    failures: list[str] = []
    for url in urls:
        try:
            pooch.retrieve(
                url,
                known_hash=f"{algorithm}:{checksum}",
                fname=path.name,
                path=path.parent,
                downloader=pooch.HTTPDownloader(progressbar=True, timeout=timeout),
            )
            return path
        # pooch tells of a wrong checksum with ValueError.
        except (requests.RequestException, ValueError) as error:
            logger.warning("%s: %s", url, error)
            failures.append(f"  {url}: {error}")
        except OSError as error:
            raise DownloadError(
                f"{path} cannot be written: {error}; make room or set another cache folder"
            ) from error
    raise DownloadError(
        f"download of {path.name} was attempted and failed (is there a network?):\n" + "\n".join(failures)
    )
