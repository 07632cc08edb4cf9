"""Local DICOM files: found by their paths, known by their headers, read as a table."""
