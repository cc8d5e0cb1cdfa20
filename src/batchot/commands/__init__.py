"""The commands of `batchot`, a module each."""
