"""Read images, write files, run threads: tools that know no word of this domain."""
