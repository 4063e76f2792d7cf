"""What a model is asked and what it answers: templates, thinking, tools, and what is wrong with a prompt."""
