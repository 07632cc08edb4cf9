"""A local Cloud Healthcare API on a folder: datasets, DICOM stores, operations and DICOMweb.

A program of its own. It imports nothing of the query side, and answers as Google does rather than
as would be convenient for a client. Begin with `app.create_app` and `server.serve`.
"""
