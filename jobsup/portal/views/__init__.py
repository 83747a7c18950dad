"""What pages show: plain functions from the database to frozen values, without a browser or a request."""
