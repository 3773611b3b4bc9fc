"""The figures of the reports, drawn once for markdown and once for the page."""
