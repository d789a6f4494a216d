"""``save_bank``: keep what a run compares images with as one file."""

from __future__ import annotations

from pathlib import Path

from fiftyone.core.collections import SampleCollection as Samples

from ..engine.bank import bank_rows
from ..engine.job import Job, JobContext, JobSpec
from ..engine.zones import common_zones
from ..registry.run import load_run
from ..storage.bank_file import BankFile
from ..storage.families import read_families
from ..storage.store import RunStore
from ..storage.zones import has_zones
from ..utils.threads import usable_cores
from .features import load_embedder
from .lifecycle import log_stages


def save_bank(samples: Samples, key: str, path: str | Path, overwrite: bool = False) -> Path:
    """Save what a run compares images with as one file, for ``score_new`` on any machine and dataset.

    It holds the features of the normal images and of what reviews marked as normal, what was fitted to them and learnt
    from marked defects, the families of regions, zones that were drawn once for all images, the thresholds with the
    scores that they rest on, and which embedder is needed. Of the normal images it has their names and checksums, no
    folders and no pixels. It is a file in the safetensors format.

    Args:
        samples: the dataset, or a view of it
        key: the run's key
        path: the file; by custom its name ends with ``.safetensors``
        overwrite (False): whether an existing file is replaced

    Returns:
        the file

    Raises:
        ValueError: if there is no such run, it compares with no normal images, its images have zones of their own, or
            the file exists
        RunError: if the run's files are gone, or the embedder gives other features than it did
        MissingDependencyError: if the embedder is not installed
        OSError: if the file cannot be written

    Examples:
        >>> file = segad.save_bank(dataset, "segad", "bank.safetensors")  # doctest: +SKIP
        >>> run = segad.score_new(other_dataset, "line2", bank=file)  # doctest: +SKIP
    """
    run = load_run(samples, key)
    if run.method != "reference":
        raise ValueError(f"Run '{key}' has no bank of normal images: its method is '{run.method}', not 'reference'")
    store = RunStore(run.folder)  # its scores as they are without zones
    zones = None if run.zones is not None and run.zones.zones_from is None else common_zones(store)
    if zones is None and has_zones(store.folder):
        raise ValueError(
            f"Some images of run '{key}' have zones of their own, which a bank file cannot hold: it holds those that "
            "are drawn once for all, by zones_from=..., where all normal images are of that sample's size. Score new "
            "images with score_new() here, carry the run with export_run(), or save the bank of a run without zones "
            "and give the inspector of load_bank() its zones"
        )
    file = Path(path).expanduser().absolute()
    if file.is_dir():
        raise ValueError(f"path='{file}' is a folder; name a file in it, e.g. '{file / key}.safetensors'")
    if file.exists() and not overwrite:
        raise ValueError(f"path='{file}' exists; pass overwrite=True to replace it")
    settings = run.settings
    spec = JobSpec([], [], run.method, settings["segments"], bank_size=settings["bank_size"], seed=settings["seed"])
    with load_embedder(run) as model:
        job = Job(spec, JobContext(model, store, usable_cores(), on_stage=log_stages(key)))
        levels = job.levels()
        rows = list(bank_rows(job, levels, store.bank))
    bank = BankFile.of(
        store,
        levels,
        rows,
        embedder=run.embedder,
        settings=settings,
        thresholds=run.thresholds,
        map_range=run.map_range,
        families=read_families(store.folder),
        zones=zones,
    )
    bank.write(file)
    return file
