"""ERROR records that a test may cause, and those that it may not.

A test marked ``logs_errors("words", …)`` expects each ERROR of its stages to contain some of the
words (a regular expression); any other fails it, as any at all fails a test without the mark.
"""

import json
import re


def errors_in(folder):
    """Return ``replica: message`` of each ERROR in the log files of a folder.

    Those in the event log are the supervisor's words for what stages have logged, or for deaths.
    """
    files = [file for file in sorted(folder.glob("*.jsonl*")) if "events" not in file.name]
    lines = [line for file in files for line in file.read_bytes().splitlines()]
    records = [record for line in lines if (record := parsed(line))]
    return [
        f"{record['stage']}: {record['message']}"
        for record in records
        if record["level"] in {"ERROR", "CRITICAL"}
    ]


def parsed(line):
    """Return a line as a record; None for one whose writer was killed in the midst of it."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def unexpected(node, errors):
    """Return those of the errors that the mark of a test does not expect."""
    marks = list(node.iter_markers("logs_errors"))
    expected = [words for mark in marks for words in mark.args]
    if marks and not expected:
        return []
    return [error for error in errors if not any(re.search(words, error) for words in expected)]
