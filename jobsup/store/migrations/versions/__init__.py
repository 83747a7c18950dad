"""The steps, one module each; `jobsup.store.schema.REVISIONS` lists them."""
