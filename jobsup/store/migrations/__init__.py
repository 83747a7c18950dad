"""How the tables came to be what they are: one small step forward per version, run by Alembic."""
