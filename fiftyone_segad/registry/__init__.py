"""Keep what a dataset knows of runs: records, fields, colours, files, locks, removal."""
