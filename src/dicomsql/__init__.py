"""SQL over DICOM stores: the DB-API 2.0 module (PEP 249).

    import dicomsql

    with dicomsql.connect(local="./data", project="p", location="us-central1") as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT name FROM google.healthcare.datasets")
        print(cursor.fetchall())
"""
