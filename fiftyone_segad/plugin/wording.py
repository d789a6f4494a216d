"""Messages of the package in the words of the App: forms have boxes and buttons where Python has arguments."""

from __future__ import annotations

import re

_TITLES = {
    "compute_segment_anomalies": "Compute segment anomalies",
    "decide_parts": "Decide on parts",
    "delete_run": "Delete a run",
    "evaluate_anomalies": "Evaluate a run",
    "export_run": "Export a run",
    "explain_sample": "Why is it anomalous?",
    "find_families": "Find families of regions",
    "find_duplicates": "Find duplicates",
    "load_folder": "Load a folder",
    "merge_families": "Merge families",
    "rescore": "Rescore",
    "score_new": "Score new images",
    "set_threshold": "Set the threshold of a run",
    "undo_review": "Undo the last mark",
    "unmark": "Take marks back",
}
"""Title of the operator that does what a function does."""

_FIELDS = {
    "bank": "the bank file",
    "eval_key": "evaluation key",
    "key": "key",
    "reference": "normal images",
    "segments": "segments",
    "threshold": "similarity",
}
"""What forms call arguments."""

_PHRASES = [
    (r"or compute with clean=True", r"or tick 'Some normal images may be defective' when you compute"),
    (r"pass overwrite=True to replace (it|them|an export)", r"tick the box to replace \1"),
    (r"(run|compute it) again with overwrite=True", r"\1 again and replace it"),
    (r"pass reference=\.\.\., e\.g\. dataset.*'train'\)", r"choose what is normal"),
    (r"pass one slice of it, e\.g\. dataset\.select_group_slices\('\.\.\.'\)", r"choose one of its slices"),
    (r"name (it|them): dataset\.mask_targets.*dataset\.save\(\)", r"name \1 in the mask targets of the dataset"),
    (
        r", or save the bank of a run without zones and give the inspector.*",
        ", or save the bank of a run without zones",
    ),
    (r"drawn once for all, by zones_from=\.\.\., where", "drawn once for all (see 'Drawn'), where"),
    (r"pass a dataset of the frames, e\.g\. view\.clone\(\)", r"use a dataset of the frames"),
    (r"pass it as segments=\.\.\.", r"use the run from Python"),
    (r"; pass embedder='[^']*' if you trust it", r"; score from Python if you trust it"),
    (r"pass key=\.\.\. to (\w+)\(\), or use view\(\)", r"run '\1' with a key"),
    (r"Give it its name back with dataset\.rename_run\([^)]*\)", "Give it its name back from Python"),
    (r"Bring it back from where it is by export_run\(\) and import_run\(\)", "Bring it back from Python"),
    (r"load it with load_run\(\), or pass samples", "choose one that a dataset still has"),
    (r"; pass pixel_size=[^,]*, or set dataset.info", "; set dataset.info"),
    (r", or once for all images with zones_from=<id of the sample>", ", or once, and choose that image under 'Drawn'"),
    (r"was made with clean=True, by", "was made as if some normal images were defective, by"),
    (r"\b(\w+)=(\d+) may", r"\2 \1 may"),
]


def in_app_words(message: str) -> str:
    """Return a message with what to do in the App instead of in Python.

    >>> in_app_words("Evaluation 'e' exists; pass overwrite=True to replace it, or another eval_key=...")
    "Evaluation 'e' exists; tick the box to replace it, or another evaluation key"
    >>> in_app_words("The folder is gone; remove the run with delete_run() and compute it again")
    "The folder is gone; remove the run with 'Delete a run' and compute it again"
    """
    for pattern, words in _PHRASES:
        message = re.sub(pattern, words, message)
    message = re.sub(r"\b(\w+)=\.\.\.", lambda match: _FIELDS.get(match[1], match[1]), message)
    names = "|".join(_TITLES)
    return re.sub(rf"(?:dataset\.|segad\.)?\b({names})\([^)]*\)", lambda match: f"'{_TITLES[match[1]]}'", message)


def duration_text(seconds: float) -> str:
    """Write a duration as a person would.

    >>> duration_text(8), duration_text(95), duration_text(4000)
    ('8 s', '2 min', '1.1 h')
    """
    if seconds < 60:
        return f"{max(round(seconds), 1)} s"
    return f"{round(seconds / 60)} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
