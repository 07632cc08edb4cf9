-- A dataset,
INSERT INTO google.healthcare.datasets (datasetId, timeZone)
SELECT 'imaging', 'UTC'
RETURNING name, timeZone;

-- and a DICOM store in it.
INSERT INTO google.healthcare.dicom_stores (dicomStoreId, labels)
SELECT 'radiology', '{"env": "demo", "team": "imaging"}'
RETURNING name, labels;

-- The stores of the dataset.
SELECT dicomStoresId, labels->>'env' AS env
FROM google.healthcare.dicom_stores;

-- Studies by date and modality; the server filters by date, the rest is checked here.
SELECT StudyDate, PatientID, ModalitiesInStudy, StudyDescription
FROM google.healthcare.studies
WHERE StudyDate >= '20040101' AND ModalitiesInStudy IN ('CT', 'MR')
ORDER BY StudyDate
LIMIT 8;

-- Studies, their series and their instances, joined.
SELECT s.StudyDate, Modality, SeriesNumber, count(*) AS instances, max(Rows) AS rows
FROM google.healthcare.studies AS s
JOIN google.healthcare.series USING (StudyInstanceUID)
JOIN google.healthcare.instances USING (SeriesInstanceUID)
WHERE s.StudyDate BETWEEN '20040101' AND '20041231'
GROUP BY ALL
ORDER BY StudyDate, Modality, SeriesNumber;

-- Instances and pixels per study.
SELECT
  StudyInstanceUID,
  PatientName,
  Modality,
  StudyDate,
  COUNT(*) AS instance_count,
  SUM(CAST(Rows AS INT64) * CAST(Columns AS INT64)) AS total_pixels
FROM google.healthcare.instances
WHERE Modality = 'CT' AND StudyDate >= '19970101'
GROUP BY StudyInstanceUID, PatientName, Modality, StudyDate
ORDER BY instance_count DESC, total_pixels DESC
LIMIT 5;

-- What a statement would do, before it does it.
EXPLAIN SELECT count(*) FROM google.healthcare.studies WHERE StudyDate >= '20040101';

-- One label changes, the others stay.
UPDATE google.healthcare.dicom_stores
SET labels.env = 'production'
WHERE dicomStoresId = 'radiology'
RETURNING labels;

-- One instance goes. A whole study or store would first be shown with its size and need consent.
DELETE FROM google.healthcare.instances
WHERE SOPInstanceUID = '1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322';

-- What is left.
SELECT studyCount, seriesCount, instanceCount, blobStorageSizeBytes
FROM google.healthcare.dicom_store_metrics
WHERE dicomStoresId = 'radiology';
