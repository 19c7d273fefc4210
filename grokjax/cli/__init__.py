"""The command line: words, --help, --plan."""
