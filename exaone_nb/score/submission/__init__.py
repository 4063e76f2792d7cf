"""The hackathon submission: `pack` makes submit.zip, `check` says what is wrong with one.

A submission is a zip with one top-level folder, `model/`, of Hugging Face files. Structure errors cost nothing on the
judging server, runtime errors cost one of three tries a day, and there are no logs: so everything that can be known
beforehand is checked here.
"""
