"""De-identification (PS3.15 Annex E): copies of instances that do not say who the patient is.

`config` reads a DeidentifyConfig into rules, `rewrite` applies them to a file, with `tags` for what
becomes of each attribute; `texts`, `phrases`, `folding` and `terms` for what is sensitive in a
text; `burned` for text in pixels, and `frames` and `streams` for what stands behind and between.
`work.deidentify` does it for a whole store or dataset, behind an operation.
"""
