"""The routes of Piper's HTTP server, for clients who know no others."""
