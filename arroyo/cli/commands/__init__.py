"""The commands of `arroyo`, each in the module of its name."""
