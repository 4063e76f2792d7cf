"""python -m exaone_nb: the command line, where the console script is not on the path."""

from exaone_nb.cli import main

main()
