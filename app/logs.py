"""Logs: JSON lines in the state folder, warnings on the screen. No secret ever reaches them."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from shared.settings import Settings

MAX_BYTES = 10_000_000
FILES_KEPT = 3


class _Screen(logging.Handler):
    """Writes to what standard error is at that moment: a live view takes it over while it is on."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print *record*."""
        print(self.format(record), file=sys.stderr)


@contextmanager
def without_news() -> Iterator[None]:
    """Drop log lines: what they would say is part of what the command prints."""

    def drop(*_: object) -> dict[str, object]:
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[drop])
    try:
        yield
    finally:
        structlog.configure(**before)


def configure_logs(settings: Settings, *, to_screen: bool) -> None:
    """Send structlog's events to `logs/trading.log`, warnings and worse to standard error, too.

    Args:
        settings: State folder and level.
        to_screen: False keeps warnings off the screen (errors still show).
    """
    folder = settings.home / "logs"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    file = logging.handlers.RotatingFileHandler(
        folder / "trading.log", maxBytes=MAX_BYTES, backupCount=FILES_KEPT, encoding="utf-8"
    )
    file.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processor=structlog.processors.JSONRenderer(), foreign_pre_chain=shared
        )
    )
    screen = _Screen()
    screen.setLevel(logging.WARNING if to_screen else logging.ERROR)
    screen.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processor=structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0),
            foreign_pre_chain=shared,
        )
    )
    # A log file on a full disk must not answer each line with a traceback; the screen has the line.
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers = [file, screen]
    root.setLevel(settings.log_level)
    # What a migration does step by step is no news to an operator.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
