"""Faces for the tools of others: each stands on the DB-API module and is imported by its tool."""
