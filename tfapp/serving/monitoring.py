"""`--monitoring_config_file`: whether and where Prometheus may read what was counted.

prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""

from __future__ import annotations

from pathlib import Path

from tfapp.serving.pages import DESCRIPTION_PATHS, PATHS
from tfapp.serving.status import Code, ServingError
from tfapp.serving.text_protos import new_message, read_text_proto

DEFAULT_PATH = "/monitoring/prometheus/metrics"
_TAKEN = (*PATHS, *DESCRIPTION_PATHS)


def metrics_path(file: str) -> str | None:
    """Returns the path by REST under which metrics are shown.

    Args:
        file: A text file with a `MonitoringConfig`; empty for none.

    Returns:
        The path, or None if they are not to be shown.

    Raises:
        ServingError: `INVALID_ARGUMENT`: the file cannot be read, is no `MonitoringConfig`, or has
            a path that cannot be.
    """
    if not file:
        return None
    config = read_text_proto(
        Path(file),
        new_message("MonitoringConfig"),
        what="monitoring config file",
        flag="--monitoring_config_file",
        holds="a prometheus_config",
    ).prometheus_config
    if not config.enable:
        return None
    path: str = config.path or DEFAULT_PATH
    if not path.startswith("/") or path.lower().startswith("/v1/") or path in _TAKEN:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"{file}: the path of prometheus_config begins with / and is none of the server's own"
            f" (/v1/…, {', '.join(_TAKEN)}); found {path!r}. Without a path it is {DEFAULT_PATH}.",
        )
    return path
