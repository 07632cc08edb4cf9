"""De-identification (PS3.15 Annex E): copies of instances that do not say who the patient is.

`config` reads a DeidentifyConfig into rules, `rewrite` applies them to a file, with `tags` for what
becomes of each attribute, `texts` and `phrases` for what is sensitive in a text, and `burned` for
text in pixels. `work` does it for a whole store or dataset, behind an operation.
"""
