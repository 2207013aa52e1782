"""Several texts in one request, their files in one answer."""
