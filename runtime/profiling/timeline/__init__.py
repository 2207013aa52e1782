"""An utterance in time, arranged for those who draw it: the page and the trace."""
