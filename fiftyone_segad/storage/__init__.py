"""Keep on disk what a run computes, and read and write bank files."""
