"""From a text to speech, in this order: `synthesis`, `reading`, `prompt`, `decoding`, `codec`.

Answers to questions: `answering`, `answer_text`, `text_decoding`. Settings and results: `sampling`,
`schedule`, `voice`, `spoken`.
"""
