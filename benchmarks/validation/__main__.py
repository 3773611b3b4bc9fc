"""Run a validation: `python -m benchmarks.validation --help` lists them."""

import sys

if __name__ == "__main__":
    if sys.argv[1:2] == ["gpu"]:
        # Needs less than the others, which write tables: a machine with a card may have little.
        from benchmarks.validation.card.command import main

        sys.exit(main(sys.argv[2:]))
    from benchmarks.validation import tables

    tables.main()
