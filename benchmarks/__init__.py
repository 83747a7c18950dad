"""What jobsup costs and how fast it is, measured on the machine at hand; see README.md."""
