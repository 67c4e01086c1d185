"""From a chat to token ids: the model's chat template and tokenizer, with content kept apart from control tokens."""
