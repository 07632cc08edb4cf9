-- Creating and managing DICOM stores, from an empty project to a query over exported metadata.
--
--     examples/tutorial.sh            runs it offline, against the emulator
--
-- Against Google itself leave --endpoint away. Statements that lose or bill something say what they
-- would touch, and need --yes, or SET allow_writes with exactly that number.
-- {{ project }}, {{ bucket }}, {{ files }}, {{ archive }} and {{ results }} are given by --var.

-- Before the first step: the API.
EXEC /*+ AWAIT */ google.serviceusage.services.enable @servicesId = 'healthcare.googleapis.com'
RETURNING done, service->>'state' AS state;

-- Step 1: a dataset,
INSERT /*+ AWAIT */ INTO google.healthcare.datasets (datasetId)
SELECT 'imaging-data'
RETURNING name;

-- a topic for notifications, and a subscription that keeps them,
INSERT INTO google.pubsub.topics (topicsId)
SELECT 'dicom-notifications'
RETURNING name;

INSERT INTO google.pubsub.subscriptions (subscriptionsId, topic)
SELECT 'dicom-arrivals', 'projects/{{ project }}/topics/dicom-notifications'
RETURNING name, topic;

-- a BigQuery dataset for the metadata of what arrives,
INSERT INTO google.bigquery.datasets (datasetReference.datasetId)
SELECT 'imaging_analytics'
RETURNING id;

-- and the store, with notifications and streaming.
INSERT INTO google.healthcare.dicom_stores
  (datasetsId, dicomStoreId, notificationConfig, streamConfigs)
SELECT
  'imaging-data',
  'radiology-images',
  '{"pubsubTopic": "projects/{{ project }}/topics/dicom-notifications", "sendForBulkImport": true}',
  '[{"bigqueryDestination":
     {"tableUri": "bq://{{ project }}.imaging_analytics.dicom_stream", "force": true}}]'
RETURNING name;

-- What follows is about this store.
SET datasetsId = 'imaging-data';
SET dicomStoresId = 'radiology-images';

-- Step 2: a file, then a folder of them.
EXEC google.healthcare.dicom_stores.store_instances
  @dicomStoresId = 'radiology-images', @@file = '{{ files }}/CT_small.dcm'
RETURNING json_array_length(dataset->'$.00081199.Value') AS stored;

COPY google.healthcare.instances FROM '{{ files }}/*.dcm' (journal off)
RETURNING status, count(*) AS files GROUP BY status ORDER BY status;

-- What the subscription has got.
EXEC google.pubsub.subscriptions.pull @subscriptionsId = 'dicom-arrivals', @maxMessages = 100
RETURNING from_base64(message->>'data')::VARCHAR AS instance;

-- Step 3: a bucket, files in it,
INSERT INTO google.storage.buckets (name, location)
SELECT '{{ bucket }}', 'us-central1'
RETURNING name;

INSERT INTO google.storage.objects (bucket, name, file, contentType)
SELECT '{{ bucket }}', 'import/' || parse_filename(file), file, 'application/dicom'
FROM glob('{{ archive }}/*.dcm');

SELECT name, size
FROM google.storage.objects
WHERE bucket = '{{ bucket }}' AND prefix = 'import/'
ORDER BY name;

-- and from there into the store.
EXEC /*+ AWAIT */ google.healthcare.dicom_stores.import
  @dicomStoresId = 'radiology-images',
  @@json = '{"gcsSource": {"uri": "gs://{{ bucket }}/import/*.dcm"}}'
RETURNING done, counter;

-- Step 4: studies by modality,
SELECT StudyInstanceUID, PatientName, ModalitiesInStudy, StudyDate, StudyDescription
FROM google.healthcare.studies
WHERE ModalitiesInStudy = 'CT'
ORDER BY StudyDate, StudyInstanceUID;

-- by a part of the patient's name,
SELECT StudyInstanceUID, PatientName
FROM google.healthcare.studies
WHERE PatientName LIKE 'CompressedSamples%'
ORDER BY PatientName, StudyInstanceUID;

-- and by date.
SELECT StudyDate, count(*) AS studies
FROM google.healthcare.studies
WHERE StudyDate BETWEEN '20040101' AND '20041231'
GROUP BY StudyDate
ORDER BY StudyDate;

-- Step 5: the files of a study, and its instances as pictures.
COPY (
  SELECT StudyInstanceUID
  FROM google.healthcare.studies
  WHERE PatientName = 'CompressedSamples^CT1'
) TO '{{ results }}/study' (FORMAT dicom, journal off)
RETURNING status, count(*) AS files GROUP BY status;

COPY (
  SELECT StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID
  FROM google.healthcare.instances
  WHERE Modality = 'CT'
) TO '{{ results }}/pictures' (FORMAT png, journal off)
RETURNING status, count(*) AS pictures GROUP BY status;

-- Step 6: a copy of the store without what identifies anyone, in a store of its own. All four pass:
-- an original CT image, an ultrasound image that says where its regions are (the rest is blanked), a
-- dose, and a plan, which has no pixels. The emulator refuses images that may have text in their
-- pixels where nothing says where, such as pydicom's MR_small.dcm and JPEG2000.dcm, derived images
-- without a BurnedInAnnotation of NO: they count as failures, and are not copied.
INSERT INTO google.healthcare.dicom_stores (dicomStoreId)
SELECT 'radiology-images-deidentified'
RETURNING name;

EXEC /*+ AWAIT */ google.healthcare.dicom_stores.deidentify
  @dicomStoresId = 'radiology-images',
  @@json = '{
    "destinationStore": "projects/{{ project }}/locations/us-central1/datasets/imaging-data/dicomStores/radiology-images-deidentified",
    "config": {
      "dicom": {"filterProfile": "DEIDENTIFY_TAG_CONTENTS"},
      "image": {"textRedactionMode": "REDACT_ALL_TEXT"}
    }
  }'
RETURNING done, counter;

SELECT PatientName, PatientID, StudyDate
FROM google.healthcare.studies
WHERE dicomStoresId = 'radiology-images-deidentified'
ORDER BY ALL;

-- Step 7: metadata to BigQuery,
EXEC /*+ AWAIT */ google.healthcare.dicom_stores.export
  @dicomStoresId = 'radiology-images',
  @@json = '{"bigqueryDestination":
              {"tableUri": "bq://{{ project }}.imaging_analytics.dicom_metadata", "force": true}}'
RETURNING done, counter;

-- and a query there, whose rows are the result.
EXEC google.bigquery.jobs.query
  @useLegacySql = false,
  @query = '
    SELECT
      StudyInstanceUID,
      PatientName,
      Modality,
      StudyDate,
      COUNT(*) AS instance_count,
      SUM(CAST(Rows AS INT64) * CAST(Columns AS INT64)) AS total_pixels
    FROM `{{ project }}.imaging_analytics.dicom_metadata`
    WHERE Modality = ''CT'' AND StudyDate >= ''2004-01-01''
    GROUP BY StudyInstanceUID, PatientName, Modality, StudyDate
    ORDER BY instance_count DESC, StudyInstanceUID
    LIMIT 20';

-- Here the same question needs no export.
SELECT
  StudyInstanceUID,
  PatientName,
  Modality,
  StudyDate,
  COUNT(*) AS instance_count,
  SUM(CAST(Rows AS INT64) * CAST(Columns AS INT64)) AS total_pixels
FROM google.healthcare.instances
WHERE Modality = 'CT' AND StudyDate >= '20040101'
GROUP BY StudyInstanceUID, PatientName, Modality, StudyDate
ORDER BY instance_count DESC, StudyInstanceUID
LIMIT 20;

-- At the end everything goes again, each with what it holds.
DELETE FROM google.healthcare.dicom_stores
WHERE projectsId = '{{ project }}' AND locationsId = 'us-central1' AND datasetsId = 'imaging-data'
  AND dicomStoresId IN ('radiology-images', 'radiology-images-deidentified');

DELETE FROM google.healthcare.datasets
WHERE projectsId = '{{ project }}' AND locationsId = 'us-central1' AND datasetsId = 'imaging-data';

DELETE FROM google.storage.objects WHERE bucket = '{{ bucket }}' AND name LIKE 'import/%';

DELETE FROM google.storage.buckets WHERE bucket = '{{ bucket }}';

DELETE FROM google.bigquery.datasets
WHERE projectsId = '{{ project }}' AND datasetsId = 'imaging_analytics' AND deleteContents = true;

DELETE FROM google.pubsub.subscriptions
WHERE projectsId = '{{ project }}' AND subscriptionsId = 'dicom-arrivals';

DELETE FROM google.pubsub.topics
WHERE projectsId = '{{ project }}' AND topicsId = 'dicom-notifications';
