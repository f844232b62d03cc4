"""Claims of the source systems: read, measured on finished studies, judged, written as pages."""
