"""How logging is set up, to see whether a test has changed that for those after it."""

import logging
from typing import NamedTuple


class LoggerState(NamedTuple):
    """What decides where the records of one logger go."""

    level: int
    propagate: bool
    disabled: bool
    handlers: tuple


# A new logger of Arroyo's has to be like this; one of a library may be as the library made it.
DEFAULT = LoggerState(logging.NOTSET, propagate=True, disabled=False, handlers=())


def logging_state():
    """Return the level below which nothing is logged, and by name the state of each logger."""
    loggers = [logging.getLogger(), *logging.root.manager.loggerDict.values()]
    return logging.root.manager.disable, {
        logger.name: state_of(logger) for logger in loggers if isinstance(logger, logging.Logger)
    }


def state_of(logger):
    # pytest puts handlers of its own on the root for each phase of a test.
    handlers = [each for each in logger.handlers if "_pytest" not in type(each).__module__]
    return LoggerState(logger.level, logger.propagate, logger.disabled, tuple(map(repr, handlers)))


def logging_changes(before, after):
    """Describe what has changed in words."""
    disabled, loggers = before
    changes = [f"logging.disable({after[0]})"] if after[0] != disabled else []
    for name, state in after[1].items():
        own = name.partition(".")[0] == "arroyo"
        wanted = loggers.get(name, DEFAULT if own else state)
        changes += [
            f"{name}.{field} is {now}, was {then}"
            for field, now, then in zip(state._fields, state, wanted, strict=True)
            if now != then
        ]
    return changes
